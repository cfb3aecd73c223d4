import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { identify, isAlive, readPidFile, sweepPidFile } from './process-identity.ts';
import { repositoryRoot } from './repository-root.ts';
import { shareStack } from './shared-stack.ts';
import { startStack } from './stack.ts';
import type { Stack } from './stack.ts';

type Shared = { stack: Promise<Stack>; users: number };

/**
 * Vitest's global setup of the projects that need servers: one stack for all of them, in a folder of this
 * run, and gone when the last project is done. Honours REDIS_URL, RABBITMQ_URL and DATABASE_URL.
 */
export default async function setup(): Promise<() => Promise<void>> {
  // Vitest loads this file once per project, each time as a new module; the process is what they share.
  const holder = globalThis as { backhaulTestStack?: Shared | undefined };
  const shared = (holder.backhaulTestStack ??= { stack: begin(), users: 0 });
  shared.users++;
  const stack = await shared.stack;
  return async () => {
    if (--shared.users > 0) return;
    holder.backhaulTestStack = undefined;
    await stack.stop({ removeData: process.env['KEEP_STACK'] === undefined });
  };
}

async function begin(): Promise<Stack> {
  const parent = join(repositoryRoot, '.backhaul');
  sweepDeadRuns(parent);
  const stack = await startStack({ dir: join(parent, `test-${process.pid}`), env: process.env });
  shareStack(stack);
  return stack;
}

/** Remove what earlier runs left behind: stacks of killed ones, and the logs of fleets. Leave those that are still running. */
function sweepDeadRuns(parent: string): void {
  if (!existsSync(parent)) return;
  for (const name of readdirSync(parent)) {
    const dir = join(parent, name);
    const [kind, pid] = name.split('-');
    if (kind === 'fleet' && identify(Number(pid)) === undefined) rmSync(dir, { recursive: true, force: true });
    if (kind !== 'test' || !existsSync(join(dir, 'owner.pid'))) continue;
    const owner = readPidFile(join(dir, 'owner.pid'));
    if (owner && isAlive(owner)) continue;
    for (const file of readdirSync(dir).filter((one) => one.endsWith('.pid'))) sweepPidFile(join(dir, file));
    rmSync(dir, { recursive: true, force: true });
  }
}
