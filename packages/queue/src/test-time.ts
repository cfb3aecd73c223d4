import { vi } from 'vitest';

/** For tests with fake timers: lets the time pass until this ends, two minutes at most. */
export async function ended<Result>(running: Promise<Result>): Promise<Result> {
  const state = { over: false };
  // What it throws is the caller's, who is given the promise itself.
  void running.catch(() => undefined).finally(() => (state.over = true));
  for (let passed = 0; !state.over && passed < 120_000; passed += 100) await vi.advanceTimersByTimeAsync(100);
  return running;
}
