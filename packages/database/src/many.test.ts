import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createMany } from './many.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('Statements are prepared once five thousand rows came within ten to twenty seconds, and no longer when fewer come', () => {
  const many = createMany();
  const after = (ms: number, rows: number) => {
    vi.advanceTimersByTime(ms);
    many.add(rows);
    return many.how;
  };
  expect([after(0, 4_999), after(9_000, 0), after(500, 1), after(9_000, 200)]).toEqual([undefined, undefined, 'prepared', 'prepared']);
  expect([after(10_000, 200), after(10_000, 200)]).toEqual([undefined, undefined]);
  expect([after(1_000, 5_000), after(60_000, 200)]).toEqual(['prepared', undefined]);
});
