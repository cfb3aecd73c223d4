import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Taken, take } from './cap.ts';

test('in no window are there more than the cap allows, and who is told to wait is let in then', () => {
  const steps = fc.array(fc.record({ id: fc.integer({ min: 0, max: 30 }).map(String), passMs: fc.integer({ min: 0, max: 400 }) }), { maxLength: 80 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 1_000 }), steps, (limit, windowMs, all) => {
      let taken: readonly Taken[] = [];
      const sent: Taken[] = [];
      let now = 0;
      for (const { id, passMs } of all) {
        now += passMs;
        const before = taken;
        const after = take(before, id, { limit, windowMs }, now);
        taken = after.taken;
        if (after.until !== undefined) {
          expect(after.until).toBeGreaterThan(now);
          expect(take(taken, id, { limit, windowMs }, after.until).until).toBeUndefined();
          expect(take(taken, id, { limit, windowMs }, after.until - 1).until).toBe(after.until);
        } else if (!before.some((each) => each.id === id && each.at > now - windowMs)) sent.push({ id, at: now });
        expect(taken.length).toBeLessThanOrEqual(limit);
      }
      for (const { at } of sent) expect(sent.filter((each) => each.at >= at && each.at < at + windowMs).length).toBeLessThanOrEqual(limit);
    }),
    { numRuns: 500 },
  );
});

test('a later try of what was counted costs nothing', () => {
  const cap = { limit: 1, windowMs: 1_000 };
  const { taken } = take([], 'a', cap, 0);
  expect(take(taken, 'a', cap, 999)).toEqual({ taken });
  expect(take(taken, 'b', cap, 999)).toEqual({ taken, until: 1_000 });
});
