import { expect, test } from 'vitest';
import { inBatches, nextSize } from './in-batches.ts';
import { contextWith } from './memory-ports.ts';

/** A table of `rows` rows; each step takes what it may. */
function table(rows: number) {
  const sizes: number[] = [];
  return {
    sizes,
    step: async (size: number) => {
      sizes.push(size);
      const taken = Math.min(size, rows);
      rows -= taken;
      return { rows: taken, last: taken < size };
    },
  };
}

test('works in batches until one is not full', async () => {
  const { step, sizes } = table(5);
  const report = await inBatches(contextWith({}), undefined, step);
  expect(report).toEqual({ rows: 5, deletedObjects: 0, batches: 3, complete: true });
  expect(sizes).toEqual([2, 2, 2]);
});

test('never does more rows than the limit, and says that something may be left', async () => {
  const { step, sizes } = table(100);
  const report = await inBatches(contextWith({}), 3, step);
  expect(report).toMatchObject({ rows: 3, complete: false });
  expect(sizes).toEqual([2, 1]);
});

test('ends by itself when its time is up, and says that something may be left', async () => {
  const { step } = table(1_000_000);
  const report = await inBatches(contextWith({ pace: { batchSize: 1, pauseMs: 1, budgetMs: 20 } }), undefined, step);
  expect(report.complete).toBe(false);
  expect(report.rows).toBeGreaterThan(0);
});

test('stops between two batches when its signal aborts, and hands the job back', async () => {
  const stop = new AbortController();
  const { step, sizes } = table(100);
  const run = inBatches(contextWith({}, stop.signal), undefined, async (size) => {
    stop.abort(new Error('stopping'));
    return step(size);
  });
  await expect(run).rejects.toThrow('stopping');
  expect(sizes).toHaveLength(1);
});

test('an abort ends the rest between two batches at once', async () => {
  const stop = new AbortController();
  const run = inBatches(contextWith({ pace: { batchSize: 2, pauseMs: 60_000, budgetMs: 60_000 } }, stop.signal), undefined, async (size) => {
    setImmediate(() => stop.abort(new Error('stopping')));
    return { rows: size, last: false };
  });
  await expect(run).rejects.toThrow('stopping');
});

test('a slow batch makes the next ones smaller, a fast one larger again', () => {
  expect(nextSize(500, 500, 400)).toBe(250);
  expect(nextSize(12, 500, 400)).toBe(10);
  expect(nextSize(250, 500, 200)).toBe(250);
  expect(nextSize(250, 500, 20)).toBe(500);
  expect(nextSize(400, 500, 20)).toBe(500);
  expect(nextSize(2, 2, 400)).toBe(2);
});
