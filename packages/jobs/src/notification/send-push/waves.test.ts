import { pause } from '@backhaul/runtime';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { waves } from './waves.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** Items that end after so long; undefined never does. What each wave brought, and when. */
async function collect(afterMs: readonly (number | undefined)[]): Promise<{ readonly at: number; readonly items: readonly number[] }[]> {
  const running = afterMs.map((ms, item) => [item, ms === undefined ? new Promise<void>(() => undefined) : pause(ms)] as const);
  const collected: { at: number; items: readonly number[] }[] = [];
  const startedAt = performance.now();
  const state = { over: false };
  const ended = (async () => {
    for await (const wave of waves(running)) collected.push({ at: performance.now() - startedAt, items: wave.map(([item]) => item) });
    state.over = true;
  })();
  while (!state.over) {
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(1);
  }
  await ended;
  return collected;
}

test('what ends in one turn comes in one wave', async () => {
  const running = Array.from({ length: 200 }, (_, item) => [item, Promise.resolve(item)] as const);
  const sizes: number[] = [];
  for await (const wave of waves(running)) sizes.push(wave.length);
  expect(sizes).toEqual([200]);
});

test('the last few are left when they take twice as long as all the others', async () => {
  const collected = await collect([...Array.from({ length: 18 }, () => 100), undefined, 150]);
  expect(collected.flatMap(({ items }) => items).sort((left, right) => left - right)).toEqual([...Array.from({ length: 18 }, (_, item) => item), 19]);
});

test('while more than a few are slow all of them are waited for', async () => {
  const collected = await collect([...Array.from({ length: 17 }, () => 10), 2_000, 2_010, 2_020]);
  expect(collected.flatMap(({ items }) => items)).toHaveLength(20);
});

test('there is nothing to wait for without promises', async () => {
  expect(await collect([])).toEqual([]);
});

test('everything that ends in time is handed over once, however the ends are spread', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 30 }), async (afterMs) => {
      const items = (await collect(afterMs)).flatMap((wave) => wave.items);
      // The shortest wait for the last few is longer than any of them.
      expect(items.toSorted((left, right) => left - right)).toEqual(afterMs.map((_, item) => item));
    }),
    { numRuns: 50 },
  );
});
