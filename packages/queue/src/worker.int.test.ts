import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { type Closeable, pause, silentLogger } from '@backhaul/runtime';
import { eventually, sharedStack, startProxy } from '@backhaul/testing';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { redisOptions } from './env.ts';
import { createInspector } from './inspect.ts';
import { PermanentFailure, RetryLater, done } from './outcome.ts';
import { type Producer, createProducer } from './producer.ts';
import { type MemoryLedger, memoryLedger } from './test-ledger.ts';
import { type TestWorkerOptions, startTestWorker, testJob } from './test-worker.ts';

const fixture = fileURLToPath(new URL('./fixtures/stuck-worker.ts', import.meta.url));
const redisUrl = sharedStack().env['REDIS_URL'] ?? '';
let redis: Redis;
let prefix: string;
let ledger: MemoryLedger;
let producer: Producer;
const workers: Closeable[] = [];
const children: ChildProcess[] = [];

beforeAll(() => {
  redis = new Redis(redisUrl);
});
afterAll(() => redis.disconnect());
beforeEach(async () => {
  prefix = `test-${randomUUID()}`;
  ledger = memoryLedger();
  producer = await createProducer({ redis: redisOptions({ REDIS_URL: redisUrl, REDIS_HOST: '', REDIS_PORT: 0 }), prefix, log: silentLogger });
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
  await producer.close();
  await wipe();
});

async function wipe(): Promise<void> {
  const keys = await redis.keys(`${prefix}:*`);
  if (keys.length > 0) await redis.del(keys);
}

async function work(options: Omit<TestWorkerOptions, 'redisUrl' | 'prefix' | 'ledger'> & Partial<TestWorkerOptions>): Promise<Closeable> {
  const worker = await startTestWorker({ redisUrl, prefix, ledger, ...options });
  workers.push(worker);
  return worker;
}

const add = async (...messageIds: string[]) => {
  for (const messageId of messageIds) ledger.record({ messageId, name: testJob.name, payload: { n: 1 } });
  await producer.addBatch(
    'work',
    messageIds.map((messageId) => ({ messageId, name: testJob.name, priority: 1, traceparent: null })),
  );
};
const status = (messageId: string, expected: string, timeoutMs?: number) =>
  eventually(() => expect(ledger.of(messageId).status).toBe(expected), timeoutMs === undefined ? {} : { timeoutMs });
const gone = () => eventually(async () => expect(await producer.depth('work')).toBe(0));

describe('Jobs', () => {
  test('run the most urgent first, and in order among equals', async () => {
    const ids = ['a1', 'b3', 'c2', 'd3', 'e1', 'f2'];
    for (const messageId of ids) ledger.record({ messageId, name: testJob.name, payload: { n: 1 } });
    await producer.addBatch(
      'work',
      ids.map((messageId) => ({ messageId, name: testJob.name, priority: Number(messageId[1]), traceparent: null })),
    );
    const ran: string[] = [];
    await work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done());
      },
    });
    await eventually(() => expect(ran).toEqual(['b3', 'd3', 'c2', 'f2', 'a1', 'e1']));
  });

  test('that were done leave nothing in Redis, so that the same id can be tried again', async () => {
    await work({ work: () => Promise.resolve(done()) });
    await add('m1');
    await status('m1', 'done');
    await gone();
    expect(await producer.missing('work', [{ messageId: 'm1' }])).toHaveLength(1);
    await add('m1');
    await status('m1', 'done');
  });

  test('that fail are tried again after their waits, then they are dead and leave nothing in Redis', async () => {
    const startedAt: number[] = [];
    await work({
      work: () => {
        startedAt.push(performance.now());
        return Promise.reject(new Error('broken'));
      },
    });
    await add('m1');
    await status('m1', 'dead');
    await gone();
    const waits = startedAt.slice(1).map((at, index) => at - (startedAt[index] ?? 0));
    expect(waits).toHaveLength(2);
    expect(waits[0]).toBeGreaterThanOrEqual(99);
    expect(waits[1]).toBeGreaterThanOrEqual(199);
    expect(ledger.of('m1')).toMatchObject({ reason: 'exhausted', failures: 3, attempts: 3 });
    expect(await producer.missing('work', [{ messageId: 'm1' }])).toHaveLength(1);
  });

  test('that cannot succeed are dead at once, and the next one runs', async () => {
    await work({ work: (_payload, { messageId }) => (messageId === 'm1' ? Promise.reject(new PermanentFailure('rejected', 'no')) : Promise.resolve(done())) });
    await add('m1', 'm2');
    await status('m2', 'done');
    expect(ledger.of('m1')).toMatchObject({ status: 'dead', reason: 'rejected', attempts: 1 });
    await gone();
  });

  test('that are put off use up no try', async () => {
    await work({ work: (_payload, { attempt }) => (attempt <= 5 ? Promise.reject(new RetryLater('rate_limited', 20, 'later')) : Promise.resolve(done())) });
    await add('m1');
    await status('m1', 'done');
    expect(ledger.of('m1')).toMatchObject({ failures: 0, attempts: 6 });
  });

  test('that run out of time are told so, and it counts as a failure', async () => {
    const reasons: unknown[] = [];
    await work({
      job: { timeoutMs: 100 },
      work: async (_payload, { signal, attempt }) => {
        if (attempt > 1) return done();
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        reasons.push(signal.reason);
        throw new Error('stopped');
      },
    });
    await add('m1');
    await status('m1', 'done');
    expect(reasons).toMatchObject([{ code: 'timeout' }]);
    expect(ledger.of('m1').failures).toBe(1);
  });

  test('tell how far they are, and are counted while they wait and run', async () => {
    let finish: () => void = () => undefined;
    const inspector = createInspector({ redis: producer.redis, prefix, queues: ['work'], log: silentLogger });
    await work({
      work: async (_payload, { progress }) => {
        progress(Number.NaN);
        progress(41.6);
        progress(99);
        await new Promise<void>((resolve) => (finish = resolve));
        return done();
      },
    });
    await add('m1', 'm2');
    await eventually(async () => expect(await inspector.progress('work', 'm1')).toBe(42));
    expect(await inspector.one('work')).toMatchObject({ waiting: 1, active: 1, delayed: 0, paused: false });
    expect((await inspector.one('work')).oldestWaitingSeconds).toBeGreaterThan(0);
    await expect(inspector.one('nonsense')).rejects.toThrow(/no such queue: nonsense/);
    await eventually(() => {
      finish();
      expect(ledger.of('m2').status).toBe('done');
    });
    await inspector.close();
  });

  test('whose row is missing, or whose data was lost, are dropped without harm', async () => {
    await work({ work: () => Promise.resolve(done()) });
    await producer.addBatch('work', [{ messageId: 'nobody', name: testJob.name, priority: 1, traceparent: null }]);
    await gone();
    await add('m1');
    await status('m1', 'done');
  });

  test('wait while the record is away, and run when it is back', async () => {
    await work({ work: () => Promise.resolve(done()) });
    ledger.record({ messageId: 'm1', name: testJob.name, payload: { n: 1 } });
    ledger.away(1);
    await producer.addBatch('work', [{ messageId: 'm1', name: testJob.name, priority: 1, traceparent: null }]);
    await status('m1', 'done');
    expect(ledger.of('m1').attempts).toBe(1);
  });
});

describe('An envelope', () => {
  const seal = async (...messageIds: string[]) => {
    const carrier = `e${messageIds.length}-${messageIds.join('')}`;
    for (const messageId of messageIds) ledger.record({ messageId, name: testJob.name, payload: { n: 1 }, carrier });
    await producer.addBatch(
      'work',
      messageIds.map((messageId) => ({ messageId, name: testJob.name, priority: 1, traceparent: null, carrier })),
    );
  };

  test('runs its jobs side by side; one that fails runs again alone, and no neighbour twice', async () => {
    const ran: string[] = [];
    await work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        if (messageId === 'bad' && ran.filter((id) => id === 'bad').length < 3) return Promise.reject(new Error('broken'));
        if (messageId === 'worse') return Promise.reject(new PermanentFailure('rejected', 'no'));
        return Promise.resolve(done());
      },
    });
    await seal('a', 'bad', 'worse', 'b');
    await status('bad', 'done');
    await gone();
    expect(ran.toSorted()).toEqual(['a', 'b', 'bad', 'bad', 'bad', 'worse']);
    expect(ledger.of('worse')).toMatchObject({ status: 'dead', reason: 'rejected' });
    expect(ledger.of('bad')).toMatchObject({ failures: 2, attempts: 3 });
  });

  test('logs each of its messages with the trace that its publisher began', async () => {
    const lines: object[] = [];
    const log = { ...silentLogger, child: (fields: object) => (lines.push(fields), log) };
    await work({ log, work: () => Promise.resolve(done()) });
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    for (const messageId of ['a', 'b'])
      ledger.record({ messageId, name: testJob.name, payload: { n: 1 }, carrier: 'e2-traced', ...(messageId === 'a' ? { traceparent } : {}) });
    await producer.addBatch(
      'work',
      ['a', 'b'].map((messageId) => ({ messageId, name: testJob.name, priority: 1, traceparent: null, carrier: 'e2-traced' })),
    );
    await status('a', 'done');
    await status('b', 'done');
    expect(lines).toContainEqual({ queue: 'work', jobId: 'e2-traced', messageId: 'a', traceparent });
    expect(lines).toContainEqual({ queue: 'work', jobId: 'e2-traced', messageId: 'b' });
  });

  test('waits while the record is away, and runs when it is back', async () => {
    await work({ work: () => Promise.resolve(done()) });
    ledger.away(1);
    await seal('a', 'b');
    await status('b', 'done');
    expect(ledger.of('a')).toMatchObject({ status: 'done', attempts: 1 });
  });

  test('is handed back for what is not done when the grace of a stop is over; the next worker does only that', async () => {
    const ran: string[] = [];
    const first = await work({
      graceMs: 100,
      work: (_payload, { messageId, signal }) => {
        ran.push(messageId);
        if (messageId === 'a') return Promise.resolve(done());
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
      },
    });
    await seal('a', 'b');
    await status('a', 'done');
    workers.splice(workers.indexOf(first), 1);
    await first.close();
    await work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done());
      },
    });
    await status('b', 'done');
    await gone();
    expect(ran).toEqual(['a', 'b', 'b']);
    expect(ledger.of('b')).toMatchObject({ failures: 0, attempts: 2 });
  });

  test('runs no more of a job at once than that job allows', async () => {
    let running = 0;
    let most = 0;
    await work({
      job: { atOnce: 3 },
      work: async () => {
        most = Math.max(most, ++running);
        await pause(5);
        running -= 1;
        return done();
      },
    });
    await seal(...Array.from({ length: 12 }, (_, index) => `m${index}`));
    await status('m11', 'done');
    await gone();
    expect(most).toBe(3);
  });
});

describe('A run whose lock was lost', () => {
  test.each(['end', 'go_on'] as const)('does what its job says: %s', async (whenLockLost) => {
    const reasons: unknown[] = [];
    let finish: () => void = () => undefined;
    await work({
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
    await add('m1');
    await status('m1', 'active');
    await eventually(async () => expect(await redis.keys(`${prefix}:work:*:lock`)).toHaveLength(1));
    await redis.del(...(await redis.keys(`${prefix}:work:*:lock`)));
    if (whenLockLost === 'end') await eventually(() => expect(reasons).toEqual(['lock_lost']));
    else {
      // Longer than it takes to notice: the lock is renewed twice in its time of one second.
      await pause(1_200);
      finish();
      expect(reasons).toEqual([]);
    }
    await status('m1', 'done');
  });
});

describe('A worker that is killed', () => {
  /** Starts a worker process that takes `messageId`, and kills it then. */
  async function crash(messageId: string, messageIds = [messageId], carrier: string | null = null): Promise<void> {
    const child = spawn(process.execPath, [fixture, JSON.stringify({ redisUrl, prefix, messageIds, carrier })], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    await new Promise<void>((resolve, reject) => {
      let output = '';
      child.stdout.on('data', (data: Buffer) => {
        output += data.toString();
        if (output.includes(`running ${messageId}`)) resolve();
      });
      child.once('exit', () => reject(new Error(`the worker ended by itself: ${output}`)));
    });
    child.removeAllListeners('exit');
    child.kill('SIGKILL');
  }

  test('loses its job to another one (A-05)', async () => {
    await add('m1');
    await crash('m1');
    await work({ work: () => Promise.resolve(done()) });
    await status('m1', 'done');
    await gone();
  });

  test('again and again by one message of an envelope: that one alone is a dead letter `stalled`, its neighbours are done', async () => {
    // The two that are killed have a record of their own, as their memory is; what they do to it dies with them.
    const carrier = 'e3-killer';
    const ids = ['m1', 'm2', 'm3'];
    for (const messageId of ids) ledger.record({ messageId, name: testJob.name, payload: { n: 1 }, carrier });
    await producer.addBatch(
      'work',
      ids.map((messageId) => ({ messageId, name: testJob.name, priority: 1, traceparent: null, carrier })),
    );
    await crash('m2', ids, carrier);
    await crash('m2', ids, carrier);
    // Given up as an envelope, its messages run alone; the one that kills does so again, until it is given up as well.
    const split = await work({
      graceMs: 0,
      concurrency: 3,
      work: (_payload, { messageId }) => (messageId === 'm2' ? new Promise(() => undefined) : Promise.resolve(done())),
    });
    await status('m1', 'done');
    await status('m3', 'done');
    workers.splice(workers.indexOf(split), 1);
    await split.close();
    expect(ledger.of('m2').status).not.toBe('done');
    expect(await producer.missing('work', [{ messageId: 'm2' }])).toEqual([]);
    await crash('m2');
    await crash('m2');
    await work({ work: () => Promise.resolve(done()) });
    await status('m2', 'dead');
    expect(ledger.of('m2')).toMatchObject({ reason: 'stalled' });
    await gone();
  }, 40_000);

  test('again and again by the same job: the job is a dead letter `stalled`, and the others run (A-05, A-06)', async () => {
    await add('m1');
    await crash('m1');
    await crash('m1');
    await add('m2');
    await work({ work: () => Promise.resolve(done()) });
    await status('m2', 'done');
    await status('m1', 'dead');
    expect(ledger.of('m1')).toMatchObject({ reason: 'stalled', error: { code: 'stalled' } });
    await gone();
    expect(await producer.missing('work', [{ messageId: 'm1' }])).toHaveLength(1);
  }, 30_000);
});

describe('Closing', () => {
  test('lets the running job finish and takes no other (A-08)', async () => {
    let finish: () => void = () => undefined;
    const worker = await work({
      work: async () => {
        await new Promise<void>((resolve) => (finish = resolve));
        return done();
      },
    });
    await add('m1', 'm2');
    await status('m1', 'active');
    workers.length = 0;
    const closing = worker.close();
    await pause(50);
    finish();
    await closing;
    expect(ledger.of('m1').status).toBe('done');
    expect(ledger.of('m2').status).toBe('queued');
  });

  test('hands the job back when the grace is over; another worker takes it at once (A-09)', async () => {
    const ran: string[] = [];
    const first = await work({
      graceMs: 100,
      work: (_payload, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
    });
    await add('m1');
    await status('m1', 'active');
    const second = work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done());
      },
    });
    await second;
    const startedAt = Date.now();
    workers.splice(workers.indexOf(first), 1);
    await first.close();
    await status('m1', 'done');
    expect(Date.now() - startedAt).toBeLessThan(2_000);
    expect(ran).toEqual(['m1']);
    expect(ledger.of('m1')).toMatchObject({ failures: 0, attempts: 2 });
  });
});

describe('Redis away', () => {
  test.each([3_000, 7_000])(
    'for %d ms in the middle of a job: the job ends, and the next ones are taken (A-14)',
    async (awayMs) => {
      const proxy = await startProxy({ target: redisUrl });
      let finish: () => void = () => undefined;
      await work({
        redisUrl: proxy.url,
        lockMs: 30_000,
        work: async (_payload, { messageId }) => {
          if (messageId === 'm1') await new Promise<void>((resolve) => (finish = resolve));
          return done();
        },
      });
      await add('m1');
      await status('m1', 'active');
      await proxy.refuse();
      await pause(awayMs / 2);
      finish();
      await pause(awayMs / 2);
      await proxy.listen();
      await status('m1', 'done', 15_000);
      await add('m2');
      await status('m2', 'done', 15_000);
      await Promise.all(workers.splice(0).map((worker) => worker.close()));
      await proxy.close();
    },
    60_000,
  );

  test('for a moment, and back empty, in the middle of a job: the job ends, and the next ones are taken (A-15)', async () => {
    let finish: () => void = () => undefined;
    await work({
      work: async (_payload, { messageId }) => {
        if (messageId === 'm1') await new Promise<void>((resolve) => (finish = resolve));
        return done();
      },
    });
    await add('m1');
    await status('m1', 'active');
    await wipe();
    finish();
    await status('m1', 'done');
    await add('m2');
    await status('m2', 'done', 15_000);
  });

  test.each(['idle', 'running'])(
    'for good while a worker closes that is %s: the close ends all the same (A-11)',
    async (state) => {
      const proxy = await startProxy({ target: redisUrl });
      const worker = await work({
        redisUrl: proxy.url,
        graceMs: 200,
        work: (_payload, { signal, messageId }) =>
          messageId === 'm1'
            ? Promise.resolve(done())
            : new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
      });
      await add('m1');
      await status('m1', 'done');
      if (state === 'running') {
        await add('m2');
        await status('m2', 'active');
      }
      workers.length = 0;
      await proxy.refuse();
      const closed = await Promise.race([worker.close().then(() => true), pause(15_000).then(() => false)]);
      expect(closed).toBe(true);
      await proxy.close();
    },
    30_000,
  );
});
