import { sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { amr } from './sounds.ts';
import { type WorkerUnderTest, startWorkerUnderTest } from './worker-under-test.ts';

let worker: WorkerUnderTest;
beforeAll(async () => {
  worker = await startWorkerUnderTest({ concurrency: 2, env: sharedStack().env });
});
afterAll(() => worker[Symbol.asyncDispose]());

// What a sender may call a file never becomes an argument, a pattern or a path of ours (E-16).
test.each([
  ['an option', '/-i'],
  ['a command', '/;rm -rf $HOME;`id`|&'],
  ['two lines', '/a\nb.ogg'],
  ['a pattern', '/%d%03d.ogg'],
  ['an address', '/concat:http://127.0.0.1/a|b.ogg'],
  ['300 characters', `/${'x'.repeat(300)}.ogg`],
  ['written from right to left', '/\u202eggo.\u0645\u0631\u062d\u0628\u0627.ogg'],
  ['another type', '/picture.jpg'],
])('a file whose name is %s is worked on like any other', async (_what, name) => {
  expect(await worker.process(amr(25), 'audio', name)).toMatchObject({ state: 'done', metadata: { durationMs: 500 } });
});
