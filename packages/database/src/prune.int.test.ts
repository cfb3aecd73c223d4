import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEffects } from './effects.ts';
import { createJobLedger } from './job-ledger.ts';
import { createJobRuns } from './job-runs.ts';
import { createJobs } from './jobs.ts';
import { KIND, policyKinds } from './policy-kinds.ts';
import { MIN_RETENTION_MS, pruneFinished } from './prune.ts';
import { newJob } from './test-jobs.ts';

let world: TestDatabase;
beforeAll(async () => {
  world = await testDatabase();
});
afterAll(() => world.close());

test('A retention below 48 h is refused: a message that comes again would run again', async () => {
  await expect(pruneFinished(world.database, { olderThanMs: MIN_RETENTION_MS - 1, batchSize: 10 })).rejects.toThrow(RangeError);
  await expect(pruneFinished(world.database, { olderThanMs: Number.NaN, batchSize: 10 })).rejects.toThrow(RangeError);
});

test('What finished within the retention stays, and so does what is open; the rest goes, in batches', async () => {
  const ids = ['old-done', 'old-done-2', 'old-done-3', 'late-done', 'old-open', 'new-done'];
  await createJobs(world.database).record(ids.map((messageId) => newJob({ messageId })));
  const set = (id: string, receivedHours: number, finishedHours: number | null) =>
    world.database.query(
      `UPDATE backhaul.jobs SET received_at = now() - $2 * interval '1 hour', finished_at = now() - $3::float * interval '1 hour', status = CASE WHEN $3::float IS NULL THEN 'queued' ELSE 'done' END WHERE message_id = $1`,
      [id, receivedHours, finishedHours],
    );
  for (const id of ['old-done', 'old-done-2', 'old-done-3']) await set(id, 100, 49);
  await set('late-done', 100, 47);
  await set('old-open', 1_000, null);
  await set('new-done', 1, 1);
  const effects = createEffects(world.database);
  for (const id of ['old-done', 'late-done', 'nobody']) await effects.claim(`push:${id}`, { messageId: id, leaseMs: 1 });
  await effects.claim('push:new', { messageId: 'also-nobody', leaseMs: 1 });
  await world.database.query(
    `UPDATE backhaul.effects SET created_at = now() - interval '100 hours', updated_at = now() - interval '100 hours' WHERE effect_key <> 'push:new'`,
  );

  const pruned = await pruneFinished(world.database, { olderThanMs: MIN_RETENTION_MS, batchSize: 2 });

  expect(pruned).toEqual({ jobs: 3, effects: 2, deadLetters: 0, jobRuns: 0, policyUsers: 0 });
  const { rows } = await world.database.query<{ message_id: string }>('SELECT message_id FROM backhaul.jobs ORDER BY 1');
  expect(rows.map((row) => row.message_id)).toEqual(['late-done', 'new-done', 'old-open']);
  const { rows: kept } = await world.database.query<{ effect_key: string }>('SELECT effect_key FROM backhaul.effects ORDER BY 1');
  expect(kept.map((row) => row.effect_key)).toEqual(['push:late-done', 'push:new']);
});

test('An effect stays as long as somebody may replay its job: a text message that may have been sent must not be sent by the replay', async () => {
  const messageId = 'dead-sms';
  await createJobs(world.database).record([newJob({ messageId })]);
  const ledger = createJobLedger(world.database);
  await ledger.start(messageId, 'worker');
  const effects = createEffects(world.database);
  const claim = await effects.claim('sms:dead', { messageId, leaseMs: 1 });
  if (claim.state !== 'claimed') throw new Error(`expected a claim, got ${claim.state}`);
  await effects.giveUp('sms:dead', claim.token, 'the reply was lost');
  await ledger.bury(messageId, 1, { reason: 'delivery_unknown', error: { name: 'PermanentFailure', message: 'unknown' } });
  const age = "now() - interval '100 hours'";
  await world.database.query(`UPDATE backhaul.jobs SET received_at = ${age}, finished_at = ${age} WHERE message_id = $1`, [messageId]);
  await world.database.query(`UPDATE backhaul.effects SET created_at = ${age}, updated_at = ${age} WHERE message_id = $1`, [messageId]);
  const prune = () => pruneFinished(world.database, { olderThanMs: MIN_RETENTION_MS, batchSize: 10 });

  expect(await prune()).toMatchObject({ jobs: 1, effects: 0 });
  expect(await effects.claim('sms:dead', { messageId, leaseMs: 1 })).toEqual({ state: 'unknown' });

  // Closed by hand: nobody will replay it.
  await world.database.query('UPDATE backhaul.dead_letters SET retried_at = now() WHERE message_id = $1', [messageId]);
  expect(await prune()).toMatchObject({ effects: 1 });
});

test('A fire is noted once however many schedulers run, and the latest one of a schedule is never pruned', async () => {
  const pool = world.open({ poolSize: 6 });
  const fire = (hour: number) => {
    const scheduledFor = new Date(Date.UTC(2026, 0, 1, hour));
    return Promise.all(
      Array.from({ length: 6 }, () => createJobRuns(pool).begin({ jobName: 'cleanup.x', scheduledFor, job: newJob({ messageId: `run:${hour}` }) })),
    );
  };
  expect((await fire(1)).filter(Boolean)).toHaveLength(1);
  expect((await fire(2)).filter(Boolean)).toHaveLength(1);
  await world.database.query(`UPDATE backhaul.job_runs SET created_at = now() - interval '1 year'`);
  const runs = createJobRuns(world.database);
  expect(await runs.prune({ olderThanMs: 1_000 })).toBe(1);
  expect(await runs.latest()).toEqual(new Map([['cleanup.x', new Date(Date.UTC(2026, 0, 1, 2))]]));
});

test('What the policy needed for what has ended goes with it; what people chose stays', async () => {
  const old = `now() - interval '3 days'`;
  await world.database.query(`
    INSERT INTO backhaul.withdrawals VALUES ('ann', 'old', '', 'read', ${old}), ('ann', 'new', '', 'read', now());
    INSERT INTO backhaul.read_marks VALUES ('ann', 'old', ${old}, ${old}), ('ann', 'new', ${old}, now());
    INSERT INTO backhaul.presence VALUES ('ann', 'old', ${old}), ('ann', 'new', now());
    INSERT INTO backhaul.notification_caps VALUES ('ann', 'push', '[]', ${old}), ('bob', 'push', '[]', now());
    INSERT INTO backhaul.coalesced VALUES ('ann', 'old', '', '{}', ${old}), ('ann', 'new', '', '{}', now());
    INSERT INTO backhaul.coalesced_messages VALUES ('m-1', 'ann', '', 'm-1', 1, ${old}), ('m-2', 'ann', '', 'm-1', 2, now());
    INSERT INTO backhaul.chat_mutes VALUES ('ann', 'old', ${old}, false, ${old}), ('ann', 'new', now(), false, ${old}), ('ann', 'ever', NULL, false, ${old});
    INSERT INTO backhaul.notification_preferences VALUES ('ann', 'push', 'all', false, ${old})`);
  const kindsOf = async (userId: string) => (await policyKinds(world.database, new Set([userId]))).get(userId);
  await world.database.query(`INSERT INTO backhaul.presence VALUES ('eve', 'old', ${old})`);
  expect([await kindsOf('ann'), await kindsOf('eve')]).toEqual([KIND.withdrawal | KIND.readMark | KIND.presence | KIND.mute | KIND.preference, KIND.presence]);
  expect(await pruneFinished(world.database, { olderThanMs: MIN_RETENTION_MS, batchSize: 1 })).toMatchObject({ policyUsers: 1 });
  expect(await kindsOf('eve')).toBeUndefined();
  const left = async (table: string) => (await world.database.query(`SELECT 1 FROM backhaul.${table}`)).rows.length;
  const counts: Record<string, number> = {};
  for (const table of [
    'withdrawals',
    'read_marks',
    'presence',
    'notification_caps',
    'coalesced',
    'coalesced_messages',
    'chat_mutes',
    'notification_preferences',
  ])
    counts[table] = await left(table);
  expect(counts).toEqual({
    withdrawals: 1,
    read_marks: 1,
    presence: 1,
    notification_caps: 1,
    coalesced: 1,
    coalesced_messages: 1,
    chat_mutes: 2,
    notification_preferences: 1,
  });
});
