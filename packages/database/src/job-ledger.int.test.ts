import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDeadLetters } from './dead-letters.ts';
import { type JobLedger, createJobLedger } from './job-ledger.ts';
import { type Jobs, createJobs } from './jobs.ts';
import { newJob } from './test-jobs.ts';

let world: TestDatabase;
let jobs: Jobs;
let ledger: JobLedger;
beforeAll(async () => {
  world = await testDatabase();
  jobs = createJobs(world.database);
  ledger = createJobLedger(world.database);
});
afterAll(() => world.close());

async function recorded(): Promise<string> {
  const job = newJob({ payloadJson: '{"n":1}' });
  await jobs.record([job]);
  return job.messageId;
}

const error = { name: 'Error', code: 'broken', message: 'it broke' };

describe('A run', () => {
  test('is opened with the payload, and closed once', async () => {
    const id = await recorded();
    expect(await ledger.start(id, 'host:1')).toMatchObject({ state: 'started', name: 'media.process-image', payload: { n: 1 }, attempt: 1, failures: 0 });
    expect(await jobs.find(id)).toMatchObject({ status: 'active', attempts: 1 });
    expect(await ledger.finish(id, 1, { status: 'done', result: { width: 5 } })).toBe(true);
    expect(await ledger.finish(id, 1, { status: 'done', result: { width: 6 } })).toBe(false);
    expect(await jobs.find(id)).toMatchObject({ status: 'done', result: { width: 5 }, error: null, finishedAt: expect.any(Date) as Date });
    expect(await ledger.start(id, 'host:1')).toEqual({ state: 'finished' });
  });

  test('of a job that nobody recorded is not opened', async () => {
    expect(await ledger.start('nobody', 'host:1')).toEqual({ state: 'missing' });
  });

  test('that failed counts a failure; one that was put off does not', async () => {
    const id = await recorded();
    await ledger.start(id, 'w');
    expect(await ledger.retry(id, 1, { error, delayMs: 5_000 })).toBe(true);
    const failed = await jobs.find(id);
    expect(failed).toMatchObject({ status: 'retrying', failures: 1, error, finishedAt: null });
    expect((failed?.dueAt?.getTime() ?? 0) - Date.now()).toBeGreaterThan(3_000);
    expect(await ledger.start(id, 'w')).toMatchObject({ attempt: 2, failures: 1 });
    expect(await ledger.postpone(id, 2, { code: 'rate_limited', message: 'later', delayMs: 0 })).toBe(true);
    expect(await ledger.start(id, 'w')).toMatchObject({ attempt: 3, failures: 1 });
    expect((await jobs.find(id))?.history.map((entry) => entry.event)).toEqual(['started', 'failed', 'started', 'postponed', 'started']);
  });

  test('that was superseded changes nothing any more, in any way', async () => {
    const id = await recorded();
    await ledger.start(id, 'old');
    await ledger.start(id, 'new');
    expect(await ledger.finish(id, 1, { status: 'done', result: {} })).toBe(false);
    expect(await ledger.retry(id, 1, { error, delayMs: 1 })).toBe(false);
    expect(await ledger.postpone(id, 1, { code: 'x', message: 'x', delayMs: 1 })).toBe(false);
    expect(await ledger.bury(id, 1, { reason: 'exhausted', error })).toBe(false);
    expect(await jobs.find(id)).toMatchObject({ status: 'active', attempts: 2, failures: 0 });
    expect(await createDeadLetters(world.database).list({ limit: 10 })).not.toContainEqual(expect.objectContaining({ messageId: id }));
    expect(await ledger.finish(id, 2, { status: 'skipped', result: { reason: 'gone' } })).toBe(true);
  });

  test('is buried with its dead letter, once; a stalled one by whoever notices', async () => {
    const id = await recorded();
    await ledger.start(id, 'w');
    const buried = await Promise.all([ledger.bury(id, undefined, { reason: 'stalled', error }), ledger.bury(id, undefined, { reason: 'stalled', error })]);
    expect(buried.toSorted()).toEqual([false, true]);
    expect(await jobs.find(id)).toMatchObject({ status: 'dead', failures: 1, error });
    const letters = (await createDeadLetters(world.database).list({ limit: 100 })).filter((letter) => letter.messageId === id);
    expect(letters).toMatchObject([{ source: 'worker', reason: 'stalled', payload: { n: 1 }, attempts: 1, seen: 1 }]);
    expect(letters[0]?.history?.map((entry) => entry.event)).toEqual(['started', 'finished']);
  });

  test('opened by twenty workers at once is theirs one after the other: only the last may close it', async () => {
    const id = await recorded();
    const starts = await Promise.all(Array.from({ length: 20 }, () => ledger.start(id, 'w')));
    const attempts = starts.map((start) => (start.state === 'started' ? start.attempt : 0));
    expect(attempts.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    const closed = await Promise.all(attempts.map((attempt) => ledger.finish(id, attempt, { status: 'done', result: { attempt } })));
    expect(closed.filter(Boolean)).toHaveLength(1);
    expect((await jobs.find(id))?.result).toEqual({ attempt: 20 });
  });
});

test('Runs that were opened one by one may be closed together, each once', async () => {
  const ids = await Promise.all([recorded(), recorded(), recorded()]);
  const [, again] = ids;
  for (const id of ids) await ledger.start(id, 'host:1');
  await ledger.start(again, 'host:2');
  const finishes = ids.map((messageId) => ({ messageId, attempt: 1, status: 'done' as const, result: {} }));
  expect(await ledger.finishAll(finishes)).toEqual([true, false, true]);
  expect(await ledger.finishAll(finishes)).toEqual([false, false, false]);
  expect(await jobs.find(again)).toMatchObject({ status: 'active', attempts: 2 });
  expect((await jobs.find(ids[2]))?.history.map(({ event }) => event)).toEqual(['started', 'finished']);
  expect(await ledger.finishAll([])).toEqual([]);
});

test('The history keeps the newest hundred entries', async () => {
  const id = await recorded();
  for (let attempt = 1; attempt <= 60; attempt += 1) {
    await ledger.start(id, 'w');
    await ledger.postpone(id, attempt, { code: 'later', message: String(attempt), delayMs: 0 });
  }
  const history = (await jobs.find(id))?.history ?? [];
  expect(history).toHaveLength(100);
  expect(history.at(-1)).toMatchObject({ event: 'postponed', message: '60' });
});

test('Text that jsonb cannot hold does not keep a run open: it would be run again for ever', async () => {
  const hostile = { text: 'NUL \u0000 and half a pair \ud800', count: 1n, list: ['\u0000'] };
  const finished = await recorded();
  await ledger.start(finished, 'w');
  expect(await ledger.finish(finished, 1, { status: 'done', result: hostile })).toBe(true);
  expect((await jobs.find(finished))?.result).toEqual({ text: 'NUL  and half a pair \ufffd', count: '1', list: [''] });

  const failed = await recorded();
  const hostileError = { name: 'Error', message: 'ffmpeg said \u0000\udfff', cause: { name: 'Error', message: '\u0000' } };
  await ledger.start(failed, 'w\u0000');
  expect(await ledger.retry(failed, 1, { error: hostileError, delayMs: 0 })).toBe(true);
  await ledger.start(failed, 'w');
  expect(await ledger.postpone(failed, 2, { code: 'x', message: '\u0000', delayMs: 0 })).toBe(true);
  await ledger.start(failed, 'w');
  expect(await ledger.bury(failed, 3, { reason: 'exhausted', error: hostileError })).toBe(true);
});

describe('The runs of an envelope', () => {
  const carried = async (count: number) => {
    const batch = Array.from({ length: count }, () => newJob({ payloadJson: '{"n":1}', carrier: `e${count}-x` }));
    await jobs.record(batch);
    return batch.map(({ messageId }) => messageId);
  };

  test('are opened with one read: those that are open and carried by it', async () => {
    const [a = '', b = '', c = ''] = await carried(3);
    const other = await recorded();
    await ledger.start(c, 'w');
    await ledger.finish(c, 1, { status: 'done', result: {} });
    const opened = await ledger.startCarried([a, b, c, other, 'nobody'], 'e3-x', 'host:1');
    expect(new Set(opened.jobs.keys())).toEqual(new Set([a, b]));
    expect(opened.jobs.get(a)).toMatchObject({ state: 'started', name: 'media.process-image', payload: { n: 1 }, attempt: 1, failures: 0 });
    // Nothing was written: a worker that dies now leaves them as they were.
    expect(await jobs.find(a)).toMatchObject({ status: 'queued', attempts: 0, history: [] });
  });

  test('are closed each in its own way, and their start goes on record with their end', async () => {
    const ids = await carried(5);
    const [a = '', b = '', c = '', d = '', e = ''] = ids;
    const { closings } = await ledger.startCarried(ids, 'e5-x', 'host:1');
    const written = await Promise.all([
      closings.finish(a, 1, { status: 'done', result: { text: 'NUL \u0000 and half \ud800' } }),
      closings.finish(b, 1, { status: 'skipped', result: { reason: 'no_address' } }),
      closings.retry(c, 1, { error, delayMs: 5_000 }),
      closings.postpone(d, 1, { code: 'stopping', message: 'handed back', delayMs: 0 }),
      closings.bury(e, 1, { reason: 'rejected', error }),
    ]);
    expect(written).toEqual([true, true, true, true, true]);
    expect(await jobs.find(a)).toMatchObject({
      status: 'done',
      attempts: 1,
      failures: 0,
      result: { text: 'NUL  and half \ufffd' },
      startedAt: expect.any(Date) as Date,
    });
    expect(await jobs.find(b)).toMatchObject({ status: 'skipped', result: { reason: 'no_address' } });
    expect(await jobs.find(c)).toMatchObject({ status: 'retrying', failures: 1, error, carrier: null, finishedAt: null });
    expect(await jobs.find(d)).toMatchObject({ status: 'retrying', failures: 0, carrier: 'e5-x' });
    expect(await jobs.find(e)).toMatchObject({ status: 'dead', attempts: 1, failures: 1 });
    for (const [id, end] of [
      [a, 'finished'],
      [c, 'failed'],
      [d, 'postponed'],
      [e, 'finished'],
    ] as const) {
      const history = (await jobs.find(id))?.history;
      expect(history?.map(({ event }) => event)).toEqual(['started', end]);
      expect(history?.[0]).toMatchObject({ worker: 'host:1' });
    }
    expect((await createDeadLetters(world.database).of(e))[0]).toMatchObject({ reason: 'rejected', attempts: 1 });
    // The retried one left the envelope, the one that was handed back did not.
    expect(new Set((await ledger.startCarried(ids, 'e5-x', 'w')).jobs.keys())).toEqual(new Set([d]));
  });

  test('leave it one by one: those that were still open are not opened with it any more, and are closed by the run that they are in', async () => {
    const ids = await carried(3);
    const [a = '', b = '', c = ''] = ids;
    const other = await carried(2);
    const { closings } = await ledger.startCarried(ids, 'e3-x', 'host:1');
    await closings.finish(b, 1, { status: 'done', result: {} });
    await ledger.leaveCarrier([a, b, ...other, 'nobody'], 'e3-x');
    expect([...(await ledger.startCarried(ids, 'e3-x', 'w')).jobs.keys()]).toEqual([c]);
    expect((await ledger.startCarried(other, 'e2-x', 'w')).jobs.size).toBe(2);
    expect(await jobs.find(b)).toMatchObject({ carrier: 'e3-x', status: 'done' });
    expect(await closings.finish(a, 1, { status: 'done', result: {} })).toBe(true);
    expect((await jobs.find(a))?.history.map(({ event }) => event)).toEqual(['started', 'finished']);
  });

  test('that end in one statement keep a history each, and only those that were still open are told that they were closed', async () => {
    const ids = await carried(6);
    const [a = '', b = '', c = ''] = ids;
    const { closings } = await ledger.startCarried(ids, 'e6-x', 'host:1');
    // Another run postponed and closed one of them before, so its history is longer than its neighbours'.
    await ledger.start(b, 'alone');
    const closed = await Promise.all([
      ...ids.map((id, n) => closings.finish(id, 1, { status: n % 2 === 0 ? 'done' : 'skipped', result: { n } })),
      ledger.finish(b, 1, { status: 'done', result: { by: 'the other' } }),
    ]);
    expect(closed).toEqual([true, false, true, true, true, true, true]);
    expect((await jobs.find(a))?.history).toMatchObject([
      { event: 'started', worker: 'host:1' },
      { event: 'finished', attempt: 1, status: 'done' },
    ]);
    expect((await jobs.find(b))?.history).toMatchObject([
      { event: 'started', worker: 'alone' },
      { event: 'finished', status: 'done' },
    ]);
    expect(await jobs.find(b)).toMatchObject({ result: { by: 'the other' } });
    expect(await jobs.find(c)).toMatchObject({ status: 'done', result: { n: 2 }, startedAt: expect.any(Date) as Date });
  });

  test('that are a first one, a second one and one that another worker was faster with end in one turn, each by what is on record', async () => {
    const [a = '', b = '', c = '', d = ''] = await carried(4);
    const early = await ledger.startCarried([b], 'e4-x', 'early');
    await early.closings.postpone(b, 1, { code: 'stopping', message: 'handed back', delayMs: 0 });
    const { jobs: opened, closings } = await ledger.startCarried([a, b, c, d], 'e4-x', 'host:1');
    const twin = await ledger.startCarried([c], 'e4-x', 'host:2');
    expect(await twin.closings.finish(c, 1, { status: 'done', result: {} })).toBe(true);
    const ends = await Promise.all(
      [a, b, c, d].map((id) => closings.finish(id, opened.get(id)?.attempt ?? 0, { status: id === d ? 'skipped' : 'done', result: {} })),
    );
    expect(ends).toEqual([true, true, false, true]);
    const story = async (id: string) => (await jobs.find(id))?.history.map(({ event, worker }) => (worker === undefined ? event : [event, worker]));
    expect(await Promise.all([a, b, c, d].map(story))).toEqual([
      [['started', 'host:1'], 'finished'],
      [['started', 'early'], 'postponed', ['started', 'host:1'], 'finished'],
      [['started', 'host:2'], 'finished'],
      [['started', 'host:1'], 'finished'],
    ]);
    expect(await jobs.find(b)).toMatchObject({ status: 'done', attempts: 2, dueAt: null, error: null });
    expect(await jobs.find(d)).toMatchObject({ status: 'skipped', attempts: 1, carrier: 'e4-x', finishedAt: expect.any(Date) as Date });
  });

  test('that are closed together are answered in their order, and keep what they would keep had each been closed by itself', async () => {
    const [together, single] = [(await carried(5)).toReversed(), (await carried(5)).toReversed()];
    const ends = await Promise.all(
      [together, single].map(async (ids) => {
        const [, second = '', , taken = '', rerun = ''] = ids;
        const early = await ledger.startCarried([rerun], 'e5-x', 'early');
        await early.closings.postpone(rerun, 1, { code: 'stopping', message: 'handed back', delayMs: 0 });
        const { jobs: opened, closings } = await ledger.startCarried(ids, 'e5-x', 'host:1');
        const twin = await ledger.startCarried([taken], 'e5-x', 'host:2');
        expect(await twin.closings.finish(taken, 1, { status: 'done', result: { by: 'the twin' } })).toBe(true);
        const finishes = ids.map((messageId, n) => ({
          messageId,
          attempt: opened.get(messageId)?.attempt ?? 0,
          status: messageId === second ? ('skipped' as const) : ('done' as const),
          result: { n, text: 'NUL \u0000 and half \ud800' },
        }));
        if (ids === together) return closings.finishAll(finishes);
        return Promise.all(finishes.map(({ messageId, attempt, ...outcome }) => closings.finish(messageId, attempt, outcome)));
      }),
    );
    expect(ends).toEqual([
      [true, true, true, false, true],
      [true, true, true, false, true],
    ]);
    const kept = async (id: string) => {
      const { status, attempts, failures, result, error: failure, carrier, dueAt, history, startedAt, finishedAt } = (await jobs.find(id)) ?? {};
      const events = history?.map((entry) => ({ ...entry, at: 'then' }));
      return { status, attempts, failures, result, failure, carrier, dueAt, events, started: startedAt instanceof Date, finished: finishedAt instanceof Date };
    };
    expect(await Promise.all(together.map(kept))).toEqual(await Promise.all(single.map(kept)));
    expect(await kept(together[1] ?? '')).toMatchObject({
      status: 'skipped',
      attempts: 1,
      result: { n: 1, text: 'NUL  and half \ufffd' },
      events: [
        { event: 'started', worker: 'host:1' },
        { event: 'finished', attempt: 1, status: 'skipped' },
      ],
    });
    expect(await kept(together[3] ?? '')).toMatchObject({ status: 'done', result: { by: 'the twin' }, events: [{ worker: 'host:2' }, { event: 'finished' }] });
    expect((await kept(together[4] ?? '')).events?.map(({ event }) => event)).toEqual(['started', 'postponed', 'started', 'finished']);
  });

  test('are opened with the time of arrival to the millisecond', async () => {
    const ids = await carried(1);
    const [id = ''] = ids;
    const { jobs: opened } = await ledger.startCarried(ids, 'e1-x', 'w');
    expect(opened.get(id)?.receivedAt).toEqual((await jobs.find(id))?.receivedAt);
  });

  test('change nothing once another run was opened or closed', async () => {
    const [a = '', b = ''] = await carried(2);
    const first = await ledger.startCarried([a, b], 'e2-x', 'old');
    const second = await ledger.startCarried([a, b], 'e2-x', 'new');
    expect(await second.closings.retry(a, 1, { error, delayMs: 1 })).toBe(true);
    await ledger.start(b, 'alone');
    expect(
      await Promise.all([first.closings.finish(a, 1, { status: 'done', result: {} }), first.closings.finish(b, 1, { status: 'done', result: {} })]),
    ).toEqual([false, false]);
    expect(await first.closings.bury(a, 1, { reason: 'x', error })).toBe(false);
    expect(await ledger.finish(b, 1, { status: 'done', result: {} })).toBe(true);
  });
});
