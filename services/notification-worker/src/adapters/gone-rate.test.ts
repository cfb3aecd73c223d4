import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GoneRate } from './gone-rate.ts';

const limits = { share: 0.2, atLeast: 20, windowMs: 60_000 };
const answers = (rate: GoneRate, says: 'reached' | 'gone', count: number, nowMs = 0) => {
  for (let each = 0; each < count; each += 1) rate.add(says, nowMs);
};

test('nineteen tokens that are gone say nothing, whatever their share', () => {
  const rate = new GoneRate(limits);
  answers(rate, 'gone', 19);
  expect(rate.look(0)).toEqual({ gone: 19, answers: 19, tooMany: false });
  rate.add('gone', 0);
  expect(rate.look(0).tooMany).toBe(true);
});

test('a fifth is not too many, more than a fifth is', () => {
  const rate = new GoneRate(limits);
  answers(rate, 'reached', 400);
  answers(rate, 'gone', 100);
  expect(rate.look(0).tooMany).toBe(false);
  rate.add('gone', 0);
  expect(rate.look(0).tooMany).toBe(true);
  rate.add('reached', 0);
  answers(rate, 'reached', 3);
  expect(rate.look(0).tooMany).toBe(false);
});

test('what is more than a minute old counts for nothing', () => {
  const rate = new GoneRate(limits);
  answers(rate, 'gone', 100, 0);
  expect(rate.look(58_999).tooMany).toBe(true);
  expect(rate.look(60_000)).toEqual({ gone: 0, answers: 0, tooMany: false });
});

test('whenever answers come, those of the last 59 seconds are counted and those above a minute are not', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ afterMs: fc.integer({ min: 0, max: 30_000 }), gone: fc.boolean() }), { maxLength: 200 }),
      fc.integer({ min: 0, max: 90_000 }),
      (steps, laterMs) => {
        const rate = new GoneRate(limits);
        let now = 1_000_000;
        const all: { at: number; gone: boolean }[] = [];
        for (const { afterMs, gone } of steps) {
          now += afterMs;
          all.push({ at: now, gone });
          rate.add(gone ? 'gone' : 'reached', now);
        }
        now += laterMs;
        const younger = (ageMs: number) => all.filter(({ at, gone }) => gone && now - at < ageMs).length;
        const { gone } = rate.look(now);
        expect(gone).toBeGreaterThanOrEqual(younger(59_000));
        expect(gone).toBeLessThanOrEqual(younger(60_000));
      },
    ),
  );
});
