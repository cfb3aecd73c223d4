import { pause, silentLogger } from '@backhaul/runtime';
import { eventually } from '@backhaul/testing';
import { describe, expect, test } from 'vitest';
import { createInspector } from './inspect.ts';
import { PermanentFailure, RetryLater, done } from './outcome.ts';
import { TestQueue } from './test-queue.ts';
import { testJob } from './test-worker.ts';

const queue = TestQueue.forEachTest();

describe('Jobs', () => {
  test('run the most urgent first, and in order among equals', async () => {
    const ids = ['a1', 'b3', 'c2', 'd3', 'e1', 'f2'];
    for (const messageId of ids) queue.ledger.record({ messageId, name: testJob.name, payload: { n: 1 } });
    await queue.producer.addBatch(
      'work',
      ids.map((messageId) => ({ messageId, name: testJob.name, priority: Number(messageId[1]), traceparent: null })),
    );
    const ran: string[] = [];
    await queue.work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done());
      },
    });
    await eventually(() => expect(ran).toEqual(['b3', 'd3', 'c2', 'f2', 'a1', 'e1']));
  });

  test('that were done leave nothing in Redis, so that the same id can be tried again', async () => {
    await queue.work({ work: () => Promise.resolve(done()) });
    await queue.add(['m1']);
    await queue.status('m1', 'done');
    await queue.gone();
    expect(await queue.producer.missing('work', [{ messageId: 'm1' }])).toHaveLength(1);
    await queue.add(['m1']);
    await queue.status('m1', 'done');
  });

  test('that fail are tried again after their waits, then they are dead and leave nothing in Redis', async () => {
    const startedAt: number[] = [];
    await queue.work({
      work: () => {
        startedAt.push(performance.now());
        return Promise.reject(new Error('broken'));
      },
    });
    await queue.add(['m1']);
    await queue.status('m1', 'dead');
    await queue.gone();
    const waits = startedAt.slice(1).map((at, index) => at - (startedAt[index] ?? 0));
    expect(waits).toHaveLength(2);
    expect(waits[0]).toBeGreaterThanOrEqual(99);
    expect(waits[1]).toBeGreaterThanOrEqual(199);
    expect(queue.ledger.of('m1')).toMatchObject({ reason: 'exhausted', failures: 3, attempts: 3 });
    expect(await queue.producer.missing('work', [{ messageId: 'm1' }])).toHaveLength(1);
  });

  test('that cannot succeed are dead at once, and the next one runs', async () => {
    await queue.work({
      work: (_payload, { messageId }) => (messageId === 'm1' ? Promise.reject(new PermanentFailure('rejected', 'no')) : Promise.resolve(done())),
    });
    await queue.add(['m1', 'm2']);
    await queue.status('m2', 'done');
    expect(queue.ledger.of('m1')).toMatchObject({ status: 'dead', reason: 'rejected', attempts: 1 });
    await queue.gone();
  });

  test('that are put off use up no try', async () => {
    await queue.work({
      work: (_payload, { attempt }) => (attempt <= 5 ? Promise.reject(new RetryLater('rate_limited', 20, 'later')) : Promise.resolve(done())),
    });
    await queue.add(['m1']);
    await queue.status('m1', 'done');
    expect(queue.ledger.of('m1')).toMatchObject({ failures: 0, attempts: 6 });
  });

  test('that run out of time are told so, and it counts as a failure', async () => {
    const reasons: unknown[] = [];
    await queue.work({
      job: { timeoutMs: 100 },
      work: async (_payload, { signal, attempt }) => {
        if (attempt > 1) return done();
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        reasons.push(signal.reason);
        throw new Error('stopped');
      },
    });
    await queue.add(['m1']);
    await queue.status('m1', 'done');
    expect(reasons).toMatchObject([{ code: 'timeout' }]);
    expect(queue.ledger.of('m1').failures).toBe(1);
  });

  test('tell how far they are, and are counted while they wait and run', async () => {
    let finish: () => void = () => undefined;
    const inspector = createInspector({ redis: queue.producer.redis, prefix: queue.prefix, queues: ['work'], log: silentLogger });
    await queue.work({
      work: async (_payload, { progress }) => {
        progress(Number.NaN);
        progress(41.6);
        progress(99);
        await new Promise<void>((resolve) => (finish = resolve));
        return done();
      },
    });
    await queue.add(['m1', 'm2']);
    await eventually(async () => expect(await inspector.progress('work', 'm1')).toBe(42));
    expect(await inspector.one('work')).toMatchObject({ waiting: 1, active: 1, delayed: 0, paused: false });
    expect((await inspector.one('work')).oldestWaitingSeconds).toBeGreaterThan(0);
    await expect(inspector.one('nonsense')).rejects.toThrow(/no such queue: nonsense/);
    await eventually(() => {
      finish();
      expect(queue.ledger.of('m2').status).toBe('done');
    });
    await inspector.close();
  });

  test('whose row is missing, or whose data was lost, are dropped without harm', async () => {
    await queue.work({ work: () => Promise.resolve(done()) });
    await queue.producer.addBatch('work', [{ messageId: 'nobody', name: testJob.name, priority: 1, traceparent: null }]);
    await queue.gone();
    await queue.add(['m1']);
    await queue.status('m1', 'done');
  });

  test('wait while the record is away, and run when it is back', async () => {
    await queue.work({ work: () => Promise.resolve(done()) });
    queue.ledger.record({ messageId: 'm1', name: testJob.name, payload: { n: 1 } });
    queue.ledger.away(1);
    await queue.producer.addBatch('work', [{ messageId: 'm1', name: testJob.name, priority: 1, traceparent: null }]);
    await queue.status('m1', 'done');
    expect(queue.ledger.of('m1').attempts).toBe(1);
  });
});

describe('A run whose lock was lost', () => {
  test.each(['end', 'go_on'] as const)('does what its job says: %s', async (whenLockLost) => {
    const reasons: unknown[] = [];
    let finish: () => void = () => undefined;
    await queue.work({
      job: { whenLockLost },
      work: async (_payload, { signal, attempt }) => {
        if (attempt > 1) return done({ by: 'another run' });
        signal.addEventListener('abort', () => reasons.push((signal.reason as { code?: unknown }).code), { once: true });
        await new Promise<void>((resolve, reject) => {
          finish = resolve;
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        });
        return done({ by: 'the first run' });
      },
    });
    await queue.add(['m1']);
    await queue.status('m1', 'active');
    await eventually(async () => expect(await queue.redis.keys(`${queue.prefix}:work:*:lock`)).toHaveLength(1));
    await queue.redis.del(...(await queue.redis.keys(`${queue.prefix}:work:*:lock`)));
    if (whenLockLost === 'end') await eventually(() => expect(reasons).toEqual(['lock_lost']));
    else {
      // Longer than it takes to notice: the lock is renewed twice in its time of one second.
      await pause(1_200);
      finish();
      expect(reasons).toEqual([]);
    }
    await queue.status('m1', 'done');
  });
});

describe('Closing', () => {
  test('lets the running job finish and takes no other (A-08)', async () => {
    let finish: () => void = () => undefined;
    const worker = await queue.work({
      work: async () => {
        await new Promise<void>((resolve) => (finish = resolve));
        return done();
      },
    });
    await queue.add(['m1', 'm2']);
    await queue.status('m1', 'active');
    const closing = worker.close();
    await pause(50);
    finish();
    await closing;
    expect(queue.ledger.of('m1').status).toBe('done');
    expect(queue.ledger.of('m2').status).toBe('queued');
  });

  test('hands the job back when the grace is over; another worker takes it at once (A-09)', async () => {
    const ran: string[] = [];
    const first = await queue.work({
      graceMs: 100,
      work: (_payload, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
    });
    await queue.add(['m1']);
    await queue.status('m1', 'active');
    const second = queue.work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done());
      },
    });
    await second;
    const startedAt = Date.now();
    await first.close();
    await queue.status('m1', 'done');
    expect(Date.now() - startedAt).toBeLessThan(2_000);
    expect(ran).toEqual(['m1']);
    expect(queue.ledger.of('m1')).toMatchObject({ failures: 0, attempts: 2 });
  });
});
