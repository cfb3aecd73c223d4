import { sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkRow } from './check-outputs.ts';
import { corpusTools } from './generate.ts';
import { takeStockUntil, watchMemory } from './leaks.ts';
import { CORPUS } from './table.ts';
import { type WorkerUnderTest, startWorkerUnderTest } from './worker-under-test.ts';

/** What costs its decoder most, or would without limits. */
const BOMBS: readonly string[] = [
  'png, 14000x14000 flat (E-01)',
  'png, exactly 64 million pixels',
  'png, pixels that inflate to a thousand times what is needed',
  'png, colour profile of 50 MB (E-07)',
  'png, text that inflates to 50 MB',
  'jpeg, progressive, 3,000 scans',
  'gif, 10,000 pictures (E-02)',
  'gif, 40 pictures of 4 million pixels (E-02)',
  'avif, boxes within boxes, 5,000 deep',
  'image: gzip that inflates to 100 MB',
  'mov, pictures of 16384x16384 (E-13)',
  'mp4, 1,000 streams (E-13)',
  'mp4, 100,000 pictures a second (E-13)',
  'mkv, lasts 70 s and says 1 s',
  'webm, lasts 70 s and says nothing',
  'mp4, an edit list of 5,000 entries',
  'mov, a compressed index that inflates to 100 MB',
  'mp3, 5,000 tags in a row',
  'mp3, a cover that inflates to 100 MB',
  'wav, a header that lies: {"channels":65535}',
];

/** What people go on to send meanwhile. */
const GOOD: readonly string[] = ['jpeg, baseline', 'webp, animated', 'mp4, h264 + aac, index at its end', 'webm, vp9 + opus', 'ogg, opus', 'm4a, aac'];

/** A good job alone takes a second or two; beside twenty that fight for two cores it may wait for its share. */
const GOOD_WITHIN_MS = 25_000;

/** Two dozen jobs at once, twelve times what a pod is set to: still less than the pod's memory. */
const MEMORY_BYTES = 1_500 * 1024 ** 2;

function find(name: string) {
  const row = CORPUS.find((one) => one.name === name);
  if (row === undefined) throw new Error(`the corpus has no ${name}`);
  return row;
}

let worker: WorkerUnderTest;
beforeAll(async () => {
  worker = await startWorkerUnderTest({ env: sharedStack().env, concurrency: BOMBS.length + GOOD.length });
});
afterAll(() => worker[Symbol.asyncDispose]());

test('while twenty bombs go off at once, good files are done in bounded time, and nothing is left (E-19)', { timeout: 120_000 }, async () => {
  const tools = await corpusTools(worker.canaryUrl);
  const rows = [...BOMBS, ...GOOD].map(find);
  const files = await Promise.all(rows.map((row) => row.make(tools)));
  const memory = watchMemory();
  const processed = await Promise.all(rows.map((row, index) => worker.process(files[index] ?? Buffer.alloc(0), row.kind)));
  memory.stop();
  // Each ends as the table says, also in this company.
  for (const [index, row] of rows.entries()) {
    const outcome = processed[index];
    if (outcome === undefined) throw new Error(`${row.name} has no outcome`);
    await checkRow(row, outcome);
  }
  const slowest = Math.max(...processed.slice(BOMBS.length).map(({ elapsedMs }) => elapsedMs));
  expect(slowest).toBeLessThan(GOOD_WITHIN_MS);
  expect(memory.peakBytes()).toBeLessThan(MEMORY_BYTES);
  expect((await takeStockUntil(worker.scratchRoot, ({ processes }) => processes.length === 0)).processes).toEqual([]);
  expect(await worker.leftovers()).toEqual([]);
});
