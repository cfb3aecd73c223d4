import { randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { floatColumn, textColumn, uuidColumn } from './columns.ts';
import type { Queryable } from './database.ts';
import { createEffects } from './effects.ts';
import { insertingIfNew } from './if-new.ts';
import { createJobs } from './jobs.ts';
import { newJob } from './test-jobs.ts';

let world: TestDatabase;
beforeAll(async () => {
  world = await testDatabase();
});
afterAll(() => world.close());

const CLAIM = 'backhaul.claim_new_effects($1, $2, $3, $4)';
const claims = (keys: readonly string[]) => [textColumn(keys), textColumn(keys), uuidColumn(keys.map(() => randomUUID())), floatColumn(keys.map(() => 60_000))];
const someKeys = (count: number) => Array.from({ length: count }, () => randomUUID());
const stored = async (keys: readonly string[]) =>
  (await world.database.query('SELECT 1 FROM backhaul.effects WHERE effect_key = ANY ($1)', [keys])).rows.length;

/** Counts the statements that go through it. */
function counting(database: Queryable): Queryable & { readonly count: number } {
  let count = 0;
  return {
    query(sql, values, how) {
      count += 1;
      return database.query(sql, values, how);
    },
    get count() {
      return count;
    },
  };
}

test('Rows are inserted if all of them are new, and none of them if one is not', async () => {
  const insertIfNew = insertingIfNew(CLAIM);
  const [known = '', ...others] = someKeys(50);
  expect(await insertIfNew(world.database, claims([known]))).toBe(true);
  expect(await insertIfNew(world.database, claims([...others, known]))).toBe(false);
  expect([await stored([known]), await stored(others)]).toEqual([1, 0]);
});

test('After rows that were not new it is not tried for a while, and then again', async () => {
  const database = counting(world.database);
  const insertIfNew = insertingIfNew(CLAIM, 100);
  const keys = someKeys(3);
  expect([await insertIfNew(database, claims(keys)), await insertIfNew(database, claims(keys)), await insertIfNew(database, claims(someKeys(3)))]).toEqual([
    true,
    false,
    false,
  ]);
  expect(database.count).toBe(2);
  await expect.poll(() => insertIfNew(database, claims(someKeys(3)))).toBe(true);
});

test('Before the functions are there, and with rows that are refused, all is as it would be without them', async () => {
  const database = counting(world.database);
  const early = insertingIfNew('backhaul.not_yet($1, $2, $3, $4)');
  expect([await early(database, claims(someKeys(1))), await early(database, claims(someKeys(1)))]).toEqual([false, false]);
  expect(database.count).toBe(1);
  await expect(insertingIfNew(CLAIM)(database, claims(['NUL \0']))).rejects.toMatchObject({ code: '22021' });
  const odd = [newJob({ payloadJson: '{' }), newJob()];
  await expect(createJobs(world.database).record(odd)).rejects.toMatchObject({ code: '22P02' });
});

test('Ten bridges and ten workers at once with the same messages, in every order: each is recorded and claimed once', async () => {
  const pool = world.open({ poolSize: 10 });
  const batch = Array.from({ length: 100 }, (_, n) => newJob({ carrier: n % 3 === 0 ? null : `e${n % 3}-x`, priority: n % 2 }));
  const orders = Array.from({ length: 10 }, (_, n) => [...batch.slice(n * 10), ...batch.slice(0, n * 5)]);
  const outcomes = await Promise.all(orders.map((order) => createJobs(pool).record(order)));
  expect(new Set(outcomes.flat().map(({ state }) => state))).toEqual(new Set(['open']));
  const found = await Promise.all(batch.map(({ messageId }) => createJobs(pool).find(messageId)));
  expect(found.map((job) => [job?.carrier, job?.priority])).toEqual(batch.map(({ carrier, priority }) => [carrier, priority]));

  const claimed = await Promise.all(
    orders.map((order) => {
      const effects = createEffects(pool);
      return Promise.all(order.map(({ messageId }) => effects.claim(messageId, { messageId, leaseMs: 60_000 })));
    }),
  );
  expect(claimed.flat().filter(({ state }) => state === 'claimed')).toHaveLength(100);
  expect(new Set(claimed.flat().map(({ state }) => state))).toEqual(new Set(['claimed', 'busy']));
});
