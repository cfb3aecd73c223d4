import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createJobLedger } from './job-ledger.ts';
import { type Jobs, createJobs } from './jobs.ts';
import { newJob } from './test-jobs.ts';

let world: TestDatabase;
let jobs: Jobs;
beforeAll(async () => {
  world = await testDatabase();
  jobs = createJobs(world.database);
});
afterAll(() => world.close());
beforeEach(async () => {
  await world.database.query('TRUNCATE backhaul.jobs');
});

const other = Buffer.alloc(32, 7);
const states = async (batch: Parameters<Jobs['record']>[0]) => (await jobs.record(batch)).map(({ state }) => state);

describe('Recording a batch', () => {
  test('says of each message, in its order, whether it is open, finished or in conflict', async () => {
    const [open, finished, conflict, fresh] = [newJob(), newJob(), newJob(), newJob()];
    expect(await states([open, finished, conflict])).toEqual(['open', 'open', 'open']);
    const ledger = createJobLedger(world.database);
    await ledger.start(finished.messageId, 'w');
    await ledger.finish(finished.messageId, 1, { status: 'done', result: {} });

    expect(await states([finished, fresh, { ...conflict, bodyHash: other }, open])).toEqual(['finished', 'open', 'conflict', 'open']);
    const { rows } = await world.database.query('SELECT 1 FROM backhaul.jobs');
    expect(rows).toHaveLength(4);
  });

  test('keeps the first of two messages with one id; the second is the same or a conflict (C-09)', async () => {
    const job = newJob({ payloadJson: '{"n":1}' });
    expect(await states([job, { ...job }, { ...job, payloadJson: '{"n":2}', bodyHash: other }])).toEqual(['open', 'open', 'conflict']);
    expect((await jobs.find(job.messageId))?.payload).toEqual({ n: 1 });
  });

  test('stores every field as it was given, whatever characters it has', async () => {
    const job = newJob({
      messageId: `"'\\{}:$1 ünï 🎉 \u2028`,
      payloadJson: JSON.stringify({ text: `"quoted" \\ \u2028 🎉`, nested: { a: [1, null] } }),
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    });
    await jobs.record([job]);
    expect(await jobs.find(job.messageId)).toMatchObject({
      messageId: job.messageId,
      queue: 'media',
      name: 'media.process-image',
      priority: 2,
      status: 'queued',
      payload: JSON.parse(job.payloadJson) as unknown,
      traceparent: job.traceparent,
      attempts: 0,
      failures: 0,
      history: [],
      finishedAt: null,
    });
  });

  test('says which Bull job carries a message: the one on record, whatever a repetition wishes', async () => {
    const [carried, alone] = [newJob({ carrier: 'e2-a' }), newJob()];
    expect(await jobs.record([carried, alone])).toEqual([
      { state: 'open', carrier: 'e2-a' },
      { state: 'open', carrier: null },
    ]);
    expect(
      await jobs.record([
        { ...carried, carrier: 'e2-b' },
        { ...alone, carrier: 'e2-b' },
      ]),
    ).toEqual([
      { state: 'open', carrier: 'e2-a' },
      { state: 'open', carrier: null },
    ]);
  });

  test('takes an empty batch', async () => {
    expect(await jobs.record([])).toEqual([]);
  });

  test('many at once, with the same messages in any order, makes one row each and never deadlocks', async () => {
    const batch = Array.from({ length: 300 }, () => newJob());
    const pool = world.open({ poolSize: 8 });
    const logged = await Promise.all(Array.from({ length: 8 }, (_, index) => createJobs(pool).record(index % 2 === 0 ? batch : batch.toReversed())));
    for (const outcomes of logged) expect(new Set(outcomes.map(({ state }) => state))).toEqual(new Set(['open']));
    const { rows } = await world.database.query<{ count: number }>('SELECT count(*)::int AS count FROM backhaul.jobs');
    expect(rows[0]?.count).toBe(300);
  });

  test('two at once with different bodies for one id: one of them is accepted', async () => {
    const pool = world.open({ poolSize: 6 });
    for (let round = 0; round < 10; round += 1) {
      const job = newJob();
      const outcomes = await Promise.all(
        Array.from({ length: 6 }, (_, index) => createJobs(pool).record([{ ...job, payloadJson: `{"n":${index}}`, bodyHash: Buffer.alloc(32, index) }])),
      );
      expect(
        outcomes
          .flat()
          .map(({ state }) => state)
          .toSorted(),
      ).toEqual(['conflict', 'conflict', 'conflict', 'conflict', 'conflict', 'open']);
    }
  });
});

describe('Looking for jobs that were lost', () => {
  const age = (messageId: string, seconds: number) =>
    world.database.query(`UPDATE backhaul.jobs SET updated_at = now() - $2 * interval '1 second' WHERE message_id = $1`, [messageId, seconds]);

  test('finds open jobs that nobody touched, page by page, and not those that are finished, fresh or not due', async () => {
    const [idle, idle2, fresh, waiting, finished] = [
      newJob({ messageId: 'a' }),
      newJob({ messageId: 'b' }),
      newJob({ messageId: 'c' }),
      newJob({ messageId: 'd' }),
      newJob({ messageId: 'e' }),
    ];
    await jobs.record([idle, idle2, fresh, waiting, finished]);
    await world.database.query(`UPDATE backhaul.jobs SET due_at = now() + interval '1 hour' WHERE message_id = 'd'`);
    await world.database.query(`UPDATE backhaul.jobs SET finished_at = now(), status = 'done' WHERE message_id = 'e'`);
    for (const id of ['a', 'b', 'd', 'e']) await age(id, 60);

    const first = await jobs.idle({ idleMs: 30_000, after: '', limit: 1 });
    expect(first.map((job) => job.messageId)).toEqual(['a']);
    expect((await jobs.idle({ idleMs: 30_000, after: 'a', limit: 10 })).map((job) => job.messageId)).toEqual(['b']);
    expect(await jobs.idle({ idleMs: 90_000, after: '', limit: 10 })).toEqual([]);
  });

  test('carrying names the open ones, gives them their carrier and keeps them for another idle time', async () => {
    await jobs.record([newJob({ messageId: 'a' }), newJob({ messageId: 'b' })]);
    await world.database.query(`UPDATE backhaul.jobs SET finished_at = now(), status = 'done' WHERE message_id = 'b'`);
    await age('a', 60);
    expect(await jobs.carry(['a', 'b', 'unknown'].map((messageId) => ({ messageId, carrier: 'e3-x' })))).toEqual(new Set(['a']));
    expect((await jobs.find('a'))?.carrier).toBe('e3-x');
    expect((await jobs.find('b'))?.carrier).toBe(null);
    expect(await jobs.idle({ idleMs: 30_000, after: '', limit: 10 })).toEqual([]);
  });

  test('the summary counts open jobs by queue and status', async () => {
    await jobs.record([newJob(), newJob(), newJob({ queue: 'cleanup' })]);
    expect(await jobs.summary()).toMatchObject([
      { queue: 'cleanup', status: 'queued', count: 1 },
      { queue: 'media', status: 'queued', count: 2 },
    ]);
  });
});
