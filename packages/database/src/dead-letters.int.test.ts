import { hash } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type DeadLetters, type PoisonMessage, createDeadLetters } from './dead-letters.ts';
import { createJobLedger } from './job-ledger.ts';
import { createJobs } from './jobs.ts';
import { newJob } from './test-jobs.ts';

let world: TestDatabase;
let letters: DeadLetters;
beforeAll(async () => {
  world = await testDatabase();
  letters = createDeadLetters(world.database);
});
afterAll(() => world.close());
beforeEach(async () => {
  await world.database.query('TRUNCATE backhaul.jobs, backhaul.dead_letters');
});

function poison(over: Partial<PoisonMessage> = {}): PoisonMessage {
  const body = over.bodyHead ?? Buffer.from('{nonsense');
  return {
    messageId: 'm1',
    queue: 'media',
    routingKey: 'media.image',
    reason: 'invalid_json',
    message: 'the body is not JSON',
    bodyHead: body,
    bodyBytes: body.length,
    bodyHash: hash('sha256', body, 'buffer'),
    ...over,
  };
}

const error = { name: 'Error', message: 'it broke' };

async function deadJob(messageId: string): Promise<number> {
  await createJobs(world.database).record([newJob({ messageId, payloadJson: '{"n":1}', priority: 3 })]);
  const ledger = createJobLedger(world.database);
  const start = await ledger.start(messageId, 'w');
  await ledger.bury(messageId, start.state === 'started' ? start.attempt : 0, { reason: 'exhausted', error });
  return (await letters.list({ limit: 1 }))[0]?.id ?? 0;
}

describe('Poison', () => {
  test('is stored with its reason and its body, byte by byte', async () => {
    const bodyHead = Buffer.from([0, 255, 0x5c, 0x22, 13, 10]);
    await letters.poison([poison({ bodyHead, bodyBytes: 1_000_000, message: `"quoted" \\ {,} ünï` })]);
    const [letter] = await letters.list({ limit: 10 });
    expect(letter).toMatchObject({
      messageId: 'm1',
      source: 'bridge',
      queue: 'media',
      routingKey: 'media.image',
      reason: 'invalid_json',
      error: { code: 'invalid_json', message: `"quoted" \\ {,} ünï` },
      bodyHead,
      bodyBytes: 1_000_000,
      seen: 1,
      attempts: 0,
      retriedAt: null,
    });
  });

  test('that comes again is counted, not stored twice; also within one batch', async () => {
    await letters.poison([poison(), poison()]);
    await letters.poison([poison()]);
    expect(await letters.list({ limit: 10 })).toMatchObject([{ seen: 2 }]);
  });

  test('with another body or reason is a dead letter of its own', async () => {
    await letters.poison([poison(), poison({ bodyHead: Buffer.from('other') }), poison({ reason: 'schema' })]);
    expect(await letters.list({ limit: 10 })).toHaveLength(3);
    expect(await letters.counts()).toEqual([
      { queue: 'media', reason: 'invalid_json', count: 2 },
      { queue: 'media', reason: 'schema', count: 1 },
    ]);
  });

  test('that comes again after it was published again is open again', async () => {
    await letters.poison([poison()]);
    const [letter] = await letters.list({ limit: 1 });
    await letters.markRetried(letter?.id ?? 0, letter?.seen ?? 0);
    expect(await letters.list({ limit: 10 })).toEqual([]);
    expect(await letters.list({ limit: 10, includeRetried: true })).toHaveLength(1);
    await letters.poison([poison()]);
    expect(await letters.list({ limit: 10 })).toMatchObject([{ seen: 2, retriedAt: null }]);
    // What was read before it died again does not close it.
    await letters.markRetried(letter?.id ?? 0, 1);
    expect(await letters.list({ limit: 10 })).toHaveLength(1);
  });

  test('from many bridges at once, in any order, is stored without a deadlock', async () => {
    const batch = Array.from({ length: 100 }, (_, index) => poison({ messageId: `m${index}` }));
    const pool = world.open({ poolSize: 6 });
    await Promise.all(Array.from({ length: 6 }, (_, index) => createDeadLetters(pool).poison(index % 2 === 0 ? batch : batch.toReversed())));
    const stored = await letters.list({ limit: 1_000 });
    expect(stored).toHaveLength(100);
    expect(new Set(stored.map((letter) => letter.seen))).toEqual(new Set([6]));
  });

  test('takes an empty batch', async () => {
    await letters.poison([]);
    expect(await letters.list({ limit: 1 })).toEqual([]);
  });

  test('is never pruned while nobody has looked at it', async () => {
    await letters.poison([poison(), poison({ messageId: 'm2' })]);
    await world.database.query(`UPDATE backhaul.dead_letters SET created_at = now() - interval '1 year'`);
    await world.database.query(`UPDATE backhaul.dead_letters SET retried_at = now() - interval '1 year' WHERE message_id = 'm2'`);
    expect(await letters.prune({ olderThanMs: 1_000, batchSize: 1 })).toBe(1);
    expect(await letters.list({ limit: 10, includeRetried: true })).toMatchObject([{ messageId: 'm1' }]);
  });
});

test('The list goes page by page, the newest first, and by queue', async () => {
  await letters.poison(Array.from({ length: 5 }, (_, index) => poison({ messageId: `m${index}`, queue: index === 0 ? 'cleanup' : 'media' })));
  const first = await letters.list({ limit: 2 });
  expect(first.map((letter) => letter.messageId)).toEqual(['m4', 'm3']);
  const second = await letters.list({ limit: 2, beforeId: first[1]?.id ?? 0 });
  expect(second.map((letter) => letter.messageId)).toEqual(['m2', 'm1']);
  expect(await letters.list({ queue: 'cleanup', limit: 10 })).toMatchObject([{ messageId: 'm0' }]);
  expect(await letters.find(first[0]?.id ?? 0)).toEqual(first[0]);
  expect(await letters.find(-1)).toBeUndefined();
});

describe('A dead job', () => {
  test('is opened again with no failures, and only once', async () => {
    const id = await deadJob('j1');
    const results = await Promise.all([letters.reopen(id), letters.reopen(id)]);
    expect(results.filter((result) => result !== undefined)).toEqual([
      { messageId: 'j1', queue: 'media', name: 'media.process-image', priority: 3, traceparent: null },
    ]);
    expect(await createJobs(world.database).find('j1')).toMatchObject({ status: 'queued', failures: 0, error: null, finishedAt: null });
    expect(await letters.list({ limit: 10 })).toEqual([]);
    expect(await createJobLedger(world.database).start('j1', 'w')).toMatchObject({ state: 'started', attempt: 2, failures: 0 });
  });

  test('that dies of the same again is the same dead letter, open again', async () => {
    const id = await deadJob('j1');
    await letters.reopen(id);
    const ledger = createJobLedger(world.database);
    await ledger.start('j1', 'w');
    await ledger.bury('j1', 2, { reason: 'exhausted', error });
    expect(await letters.list({ limit: 10 })).toMatchObject([{ id, seen: 2, attempts: 2, retriedAt: null }]);
  });

  test('that was done meanwhile is not opened, and its dead letter says nothing else', async () => {
    const id = await deadJob('j1');
    await world.database.query(`UPDATE backhaul.jobs SET status = 'done' WHERE message_id = 'j1'`);
    expect(await letters.reopen(id)).toBeUndefined();
    expect(await createJobs(world.database).find('j1')).toMatchObject({ status: 'done' });
    expect(await letters.find(id)).toMatchObject({ retriedAt: null });
  });

  test('whose row was pruned is made again from its dead letter', async () => {
    const id = await deadJob('j1');
    await world.database.query('DELETE FROM backhaul.jobs');
    expect(await letters.reopen(id)).toMatchObject({ messageId: 'j1', queue: 'media', name: 'media.process-image' });
    expect(await createJobLedger(world.database).start('j1', 'w')).toMatchObject({ state: 'started', payload: { n: 1 } });
  });

  test('is not what a dead letter of the bridge opens', async () => {
    await letters.poison([poison()]);
    const [letter] = await letters.list({ limit: 1 });
    expect(await letters.reopen(letter?.id ?? 0)).toBeUndefined();
    expect(await letters.reopen(999_999)).toBeUndefined();
  });
});
