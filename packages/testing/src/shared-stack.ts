import { FakesClient } from './fakes/client.ts';
import type { Stack } from './stack.ts';

const VARIABLE = 'BACKHAUL_SHARED_STACK';

/** What tests of the int, flow and slow projects get of the stack that vitest started; see vitest-stack.ts. */
export type SharedStack = {
  /** As `Stack.env`. */
  env: Record<string, string>;
  fakes: FakesClient;
};

/**
 * The stack that all tests of this run share. Use own queue prefixes, databases and keys in it, and never
 * stop its servers; a test that does that starts its own with `startStack`.
 */
export function sharedStack(): SharedStack {
  const value = process.env[VARIABLE];
  if (value === undefined) throw new Error('no shared stack: run this test through vitest as x.int.test.ts or x.flow.test.ts');
  const { env, fakesUrl } = JSON.parse(value) as { env: Record<string, string>; fakesUrl: string };
  return { env, fakes: new FakesClient(fakesUrl) };
}

/** Make a stack the one that `sharedStack` finds, here and in processes that are started from here. */
export function shareStack(stack: Stack): void {
  process.env[VARIABLE] = JSON.stringify({ env: stack.env, fakesUrl: stack.fakesServer.url });
  const { NODE_ENV: _vitestSetsItsOwn, ...env } = stack.env;
  Object.assign(process.env, env);
}
