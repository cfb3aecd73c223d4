import { randomInt, randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEffects } from './effects.ts';
import { type SmsGuard, createSmsGuard } from './sms-guard.ts';

let world: TestDatabase;
let guard: SmsGuard;
beforeAll(async () => {
  world = await testDatabase();
  guard = createSmsGuard(world.database);
});
afterAll(() => world.close());

const someNumber = () => `+49151${randomInt(10_000_000, 99_999_999)}`;
const take = (number: string, messageId: string, limit = 3, windowMs = 3_600_000) => guard.take(number, { class: 'otp', messageId, limit, windowMs });

test('An opt-out stays, whoever notes it again, and the table does not hold the number', async () => {
  const number = someNumber();
  expect(await guard.isOptedOut(number)).toBe(false);
  await guard.optOut(number);
  await guard.optOut(number);
  expect(await guard.isOptedOut(number)).toBe(true);
  expect(await guard.isOptedOut(someNumber())).toBe(false);
  const { rows } = await world.database.query('SELECT * FROM backhaul.sms_opt_outs');
  expect(JSON.stringify(rows)).not.toContain(number.slice(3));
});

test('Twenty takers at the same moment share exactly the limit', async () => {
  const number = someNumber();
  const taken = await Promise.all(Array.from({ length: 20 }, () => take(number, randomUUID(), 5)));
  expect(taken.filter(({ allowed }) => allowed)).toHaveLength(5);
  for (const { retryAfterMs } of taken) expect(retryAfterMs).toBeGreaterThan(3_500_000);
});

test('A message that was counted stays allowed and costs nothing more; classes and numbers are counted apart', async () => {
  const number = someNumber();
  for (let again = 0; again < 3; again += 1) expect((await take(number, 'm-1', 1)).allowed).toBe(true);
  expect((await take(number, 'm-2', 1)).allowed).toBe(false);
  expect((await guard.take(number, { class: 'alert', messageId: 'm-2', limit: 1, windowMs: 1_000 })).allowed).toBe(true);
  expect((await take(someNumber(), 'm-2', 1)).allowed).toBe(true);
});

test('Within no window are there more sends than the limit, whatever came before', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.record({ message: fc.integer({ min: 0, max: 9 }), passMs: fc.integer({ min: 0, max: 90_000 }) }), { maxLength: 25 }),
      async (limit, steps) => {
        const number = someNumber();
        const windowMs = 100_000;
        let model: { message: number; at: number }[] = [];
        let now = 0;
        for (const { message, passMs } of steps) {
          // Time passes by moving what was kept into the past. The half second keeps the clock's own running away from the edges.
          const step = Math.round(passMs / 1_000) * 1_000 + 500;
          now += step;
          await world.database.query(
            `UPDATE backhaul.sms_limits SET taken_at = ARRAY(SELECT at - $1 * interval '1 millisecond' FROM unnest(taken_at) WITH ORDINALITY AS t (at, n) ORDER BY n)
             WHERE message_ids && $2::text[]`,
            [step, model.map((each) => `${number}-${each.message}`)],
          );
          model = model.filter(({ at }) => at > now - windowMs);
          const before = model.some((each) => each.message === message);
          const expected = before || model.length < limit;
          if (!before && expected) model.push({ message, at: now });
          expect((await take(number, `${number}-${message}`, limit, windowMs)).allowed).toBe(expected);
        }
      },
    ),
    { numRuns: 20 },
  );
});

test('Which of the ids are confirmed for other sends of that time is told', async () => {
  const effects = createEffects(world.database);
  const key = randomUUID();
  const claim = await effects.claim(key, { messageId: 'm-1', leaseMs: 60_000 });
  if (claim.state !== 'claimed') throw new Error(claim.state);
  await effects.confirm(key, claim.token, `SM-${key}`);
  expect(await guard.confirmedAmong([`SM-${key}`, 'SM-other'], new Date())).toEqual(new Set([`SM-${key}`]));
  expect(await guard.confirmedAmong([`SM-${key}`], new Date(Date.now() - 3_600_000))).toEqual(new Set());
});
