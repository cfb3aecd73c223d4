import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkRow } from './check-outputs.ts';
import { type CorpusTools, corpusTools } from './generate.ts';
import { type Holdings, takeStock, takeStockUntil, watchMemory } from './leaks.ts';
import type { CorpusRow } from './row.ts';
import { DEADLINE_MS, type WorkerUnderTest, startWorkerUnderTest } from './worker-under-test.ts';

/** Jobs at once. */
const CONCURRENCY = 2;

/**
 * What the worker itself may hold in memory while it works on the table: Node
 * with vitest takes less than 250 MB; each of two jobs at most 64 million
 * decoded pixels, which are 256 MB, and some copies of 2048 pixels.
 */
const MEMORY_BYTES = 1_000 * 1024 ** 2;

/** Libraries open some files when they are first used (libuv's event file, libvips' and OpenSSL's random numbers), and keep them. */
const FIRST_USE_DESCRIPTORS = 3;

/** The client of the object store keeps up to 50 connections to the store, the pools of Postgres two for each job: a leak of one per file exceeds that many times. */
const POOLED_SOCKETS = 50 + 2 * CONCURRENCY;

/** Declares one test for each row, and one that nothing is left afterwards. `env` names the servers. */
export function testRows(rows: readonly CorpusRow[], env: Readonly<Record<string, string>>): void {
  let worker: WorkerUnderTest;
  let tools: CorpusTools;
  let before: Holdings;
  const memory = watchMemory();

  beforeAll(async () => {
    worker = await startWorkerUnderTest({ concurrency: CONCURRENCY, env });
    tools = await corpusTools(worker.canaryUrl);
    before = await takeStock(worker.scratchRoot);
  });
  afterAll(async () => {
    memory.stop();
    await worker[Symbol.asyncDispose]();
  });

  // Five of them wait at once; the worker takes two.
  test.concurrent.for(rows)('$kind $name', { timeout: 4 * DEADLINE_MS }, async (row) => {
    await checkRow(row, await worker.process(await row.make(tools), row.kind));
  });

  test('after all of them no process, file, descriptor or memory is left, and nobody called the canary', async () => {
    expect(worker.canaryConnections()).toBe(0);
    expect(await worker.leftovers()).toEqual([]);
    const most = before.descriptors.length + FIRST_USE_DESCRIPTORS;
    const after = await takeStockUntil(
      worker.scratchRoot,
      ({ processes, descriptors }) => processes.length === before.processes.length && descriptors.length <= most,
    );
    expect(after.processes).toEqual(before.processes);
    // The names tell what leaked.
    expect(after.descriptors.length <= most ? [] : after.descriptors).toEqual([]);
    expect(after.sockets).toBeLessThanOrEqual(before.sockets + POOLED_SOCKETS);
    expect(memory.peakBytes()).toBeLessThan(MEMORY_BYTES);
  });
}
