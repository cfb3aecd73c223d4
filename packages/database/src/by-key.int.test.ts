import { randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database } from './database.ts';
import { createEffects } from './effects.ts';
import { createJobLedger } from './job-ledger.ts';
import { createJobs } from './jobs.ts';
import { newJob } from './test-jobs.ts';

let world: TestDatabase;
/** One connection: it counts what its own statements read. */
let database: Database;
beforeAll(async () => {
  world = await testDatabase();
  database = world.open({ poolSize: 1 });
});
afterAll(() => world.close());

/** Rows of these tables that were read without a key, or from the list of all open jobs. */
async function readInVain(): Promise<number> {
  await database.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await database.query<{ count: number }>(
    `SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE schemaname = 'backhaul' AND relname IN ('jobs', 'effects'))::int
       + (SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'jobs_unfinished')::int AS count`,
  );
  return rows[0]?.count ?? NaN;
}

test('A backlog is worked off by keys alone, also when the tables were empty when they were last counted', async () => {
  const jobs = createJobs(database);
  const ledger = createJobLedger(database);
  const effects = createEffects(database);
  // The server's own vacuum reads rows for the BRIN indexes, and they would count as ours.
  for (const table of ['jobs', 'effects']) await database.query(`ALTER TABLE backhaul.${table} SET (autovacuum_enabled = false)`);
  await database.query('ANALYZE backhaul.jobs, backhaul.effects');
  const all = Array.from({ length: 3_000 }, () => newJob({ carrier: 'e200-x' }));
  for (let from = 0; from < all.length; from += 500) await jobs.record(all.slice(from, from + 500));
  const ids = all.map(({ messageId }) => messageId);
  await Promise.all(ids.slice(0, 2_500).map((messageId) => effects.claim(`push:${messageId}`, { messageId, leaseMs: 60_000 })));

  const before = await readInVain();
  const some = ids.slice(2_500, 2_800);
  const claims = await Promise.all(some.map((messageId) => effects.claim(`push:${messageId}`, { messageId, leaseMs: 60_000 })));
  const { jobs: opened, closings } = await ledger.startCarried(some, 'e200-x', 'w');
  expect(opened.size).toBe(300);
  const token = (claim: (typeof claims)[number] | undefined) => (claim?.state === 'claimed' ? claim.token : randomUUID());
  const confirmed = await Promise.all(some.slice(0, 200).map((id, n) => effects.confirm(`push:${id}`, token(claims[n]), null)));
  await Promise.all(some.slice(200).map((id, n) => effects.release(`push:${id}`, token(claims[n + 200]))));
  const closed = await Promise.all(some.map((id) => closings.finish(id, 1, { status: 'done', result: {} })));
  expect([confirmed.every(Boolean), closed.every(Boolean)]).toEqual([true, true]);
  expect(await jobs.record(all.slice(2_500, 3_000))).toHaveLength(500);
  expect((await ledger.start(ids[2_900] ?? '', 'w')).state).toBe('started');
  expect((await jobs.carry(all.slice(2_900).map(({ messageId }) => ({ messageId, carrier: null })))).size).toBe(100);
  expect(await readInVain()).toBe(before);
});

test('So it is when the statements are prepared, as many rows come, by plans that were made after a start with empty tables', async () => {
  const [jobs, ledger, effects] = [createJobs(database), createJobLedger(database), createEffects(database)];
  await database.query('TRUNCATE backhaul.jobs, backhaul.effects');
  await database.query('ANALYZE backhaul.jobs, backhaul.effects');
  let before = NaN;
  const sizes = [...Array.from({ length: 20 }, () => 3), ...Array.from({ length: 30 }, () => 300)];
  for (const [turn, length] of sizes.entries()) {
    const batch = Array.from({ length }, () => newJob({ carrier: 'e300-x' }));
    await jobs.record(batch);
    const ids = batch.map(({ messageId }) => messageId);
    const { closings } = await ledger.startCarried(ids, 'e300-x', 'w');
    const claims = await Promise.all(ids.map((messageId) => effects.claim(`push:${messageId}`, { messageId, leaseMs: 60_000 })));
    await Promise.all(ids.map((id, n) => effects.confirm(`push:${id}`, claims[n]?.state === 'claimed' ? claims[n].token : '', null)));
    await Promise.all(ids.map((id) => closings.finish(id, 1, { status: 'done', result: {} })));
    // Small tables may be read as a whole.
    if (turn === 25) before = await readInVain();
  }
  const { rows } = await database.query(`SELECT name FROM pg_prepared_statements WHERE generic_plans > 0 AND statement ~ '^(UPDATE|SELECT message_id)'`);
  expect(rows).toHaveLength(3);
  expect(await readInVain()).toBe(before);
});
