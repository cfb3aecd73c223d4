import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createCircuitBreaker } from './circuit-breaker.ts';

function breaker(failures = 3, openMs = 1_000) {
  let time = 0;
  const made = createCircuitBreaker({ failures, openMs, now: () => time });
  const ask = (result: 'works' | 'fails' | 'neither') => {
    const { waitMs } = made.enter();
    if (waitMs === 0) made.leave(result);
    return waitMs;
  };
  return { made, ask, pass: (ms: number) => (time += ms) };
}

test('it opens after so many failures in a row, and one that works in between counts anew', () => {
  const { made, ask } = breaker();
  for (const result of ['fails', 'fails', 'works', 'fails', 'neither', 'fails'] as const) expect(ask(result)).toBe(0);
  expect(made.state).toBe('closed');
  ask('fails');
  expect([made.state, made.enter().waitMs]).toEqual(['open', 1_000]);
});

test('after its time one may ask, the others wait; what that one finds decides', () => {
  const { made, ask, pass } = breaker(1);
  ask('fails');
  pass(1_000);
  expect(made.state).toBe('half_open');
  expect(made.enter()).toEqual({ waitMs: 0 });
  expect(made.enter().waitMs).toBeGreaterThan(0);
  made.leave('fails');
  expect([made.state, made.enter().waitMs]).toEqual(['open', 1_000]);
  pass(1_000);
  expect(ask('neither')).toBe(0);
  expect(made.state).toBe('half_open');
  expect(ask('works')).toBe(0);
  expect(made.state).toBe('closed');
});

test('whatever happens, an open one lets nobody in before its time, and a working other side is found again', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('works' as const, 'fails' as const, 'neither' as const), fc.integer({ min: 0, max: 600 }))), (steps) => {
      const { made, ask, pass } = breaker(2);
      let inARow = 0;
      let closedAt = 0;
      let clock = 0;
      for (const [result, ms] of steps) {
        pass(ms);
        clock += ms;
        const waitMs = ask(result);
        expect(waitMs > 0).toBe(clock < closedAt);
        if (waitMs > 0) continue;
        inARow = result === 'works' ? 0 : result === 'fails' ? inARow + 1 : inARow;
        if (result === 'fails' && inARow >= 2) closedAt = clock + 1_000;
      }
      pass(1_000);
      expect(ask('works')).toBe(0);
      expect(made.state).toBe('closed');
    }),
  );
});
