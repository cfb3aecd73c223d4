import { createMetrics, pause, silentLogger } from '@backhaul/runtime';
import { describe, expect, test } from 'vitest';
import type { BatchAnswer } from './define-job.ts';
import { PermanentFailure, done } from './outcome.ts';
import { TestQueue } from './test-queue.ts';
import { testJob } from './test-worker.ts';

const queue = TestQueue.forEachTest();

describe('An envelope', () => {
  const seal = (...messageIds: string[]) => queue.add(messageIds, `e${messageIds.length}-${messageIds.join('')}`);

  test('runs its jobs side by side; one that fails runs again alone, and no neighbour twice', async () => {
    const ran: string[] = [];
    await queue.work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        if (messageId === 'bad' && ran.filter((id) => id === 'bad').length < 3) return Promise.reject(new Error('broken'));
        if (messageId === 'worse') return Promise.reject(new PermanentFailure('rejected', 'no'));
        return Promise.resolve(done());
      },
    });
    await seal('a', 'bad', 'worse', 'b');
    await queue.status('bad', 'done');
    await queue.gone();
    expect(ran.toSorted()).toEqual(['a', 'b', 'bad', 'bad', 'bad', 'worse']);
    expect(queue.ledger.of('worse')).toMatchObject({ status: 'dead', reason: 'rejected' });
    expect(queue.ledger.of('bad')).toMatchObject({ failures: 2, attempts: 3 });
  });

  test('logs each of its messages with the trace that its publisher began', async () => {
    const lines: object[] = [];
    const log = { ...silentLogger, child: (fields: object) => (lines.push(fields), log) };
    await queue.work({ log, work: () => Promise.resolve(done()) });
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    for (const messageId of ['a', 'b'])
      queue.ledger.record({ messageId, name: testJob.name, payload: { n: 1 }, carrier: 'e2-traced', ...(messageId === 'a' ? { traceparent } : {}) });
    await queue.enqueue(['a', 'b'], 'e2-traced');
    await queue.status('a', 'done');
    await queue.status('b', 'done');
    expect(lines).toContainEqual({ queue: 'work', jobId: 'e2-traced', messageId: 'a', traceparent });
    expect(lines).toContainEqual({ queue: 'work', jobId: 'e2-traced', messageId: 'b' });
  });

  test('waits while the record is away, and runs when it is back', async () => {
    await queue.work({ work: () => Promise.resolve(done()) });
    queue.ledger.away(1);
    await seal('a', 'b');
    await queue.status('b', 'done');
    expect(queue.ledger.of('a')).toMatchObject({ status: 'done', attempts: 1 });
  });

  test('is handed back for what is not done when the grace of a stop is over; the next worker does only that', async () => {
    const ran: string[] = [];
    const first = await queue.work({
      graceMs: 100,
      work: (_payload, { messageId, signal }) => {
        ran.push(messageId);
        if (messageId === 'a') return Promise.resolve(done());
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
      },
    });
    await seal('a', 'b');
    await queue.status('a', 'done');
    await first.close();
    await queue.work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done());
      },
    });
    await queue.status('b', 'done');
    await queue.gone();
    expect(ran).toEqual(['a', 'b', 'b']);
    expect(queue.ledger.of('b')).toMatchObject({ failures: 0, attempts: 2 });
  });

  test('runs no more of a job at once than that job allows', async () => {
    let running = 0;
    let most = 0;
    await queue.work({
      job: { atOnce: 3 },
      work: async () => {
        most = Math.max(most, ++running);
        await pause(5);
        running -= 1;
        return done();
      },
    });
    await seal(...Array.from({ length: 12 }, (_, index) => `m${index}`));
    await queue.status('m11', 'done');
    await queue.gone();
    expect(most).toBe(3);
  });

  test('whose last message hangs gives its place to the next one; a stop hands that message back', async () => {
    const ran: string[] = [];
    const first = await queue.work({
      graceMs: 100,
      work: (_payload, { messageId, signal }) => {
        ran.push(messageId);
        if (messageId !== 'hangs') return Promise.resolve(done());
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
      },
    });
    await seal('a', 'hangs');
    await seal('b', 'c');
    await queue.status('c', 'done');
    expect(queue.ledger.of('hangs')).toMatchObject({ status: 'queued', carrier: null });
    await first.close();
    await queue.work({
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done());
      },
    });
    await queue.status('hangs', 'done');
    await queue.gone();
    expect(ran).toEqual(['a', 'hangs', 'b', 'c', 'hangs']);
    expect(queue.ledger.of('hangs')).toMatchObject({ failures: 0, attempts: 2 });
  });

  test('whose messages end in a batch leaves the queue with them; one that the batch leaves out runs by itself', async () => {
    const given: string[][] = [];
    const ran: string[] = [];
    await queue.work({
      batch: (messages) => {
        const ids = messages.map(({ messageId }) => messageId);
        given.push(ids);
        return Promise.resolve(new Map(ids.filter((id) => id !== 'c').map((id) => [id, done({ by: 'the batch' })])));
      },
      work: (_payload, { messageId }) => {
        ran.push(messageId);
        return Promise.resolve(done({ by: 'itself' }));
      },
    });
    await seal('a', 'b', 'c');
    await queue.status('c', 'done');
    await queue.gone();
    expect([given.map((ids) => ids.toSorted()), ran]).toEqual([[['a', 'b', 'c']], ['c']]);
    for (const messageId of ['a', 'b']) expect(queue.ledger.of(messageId)).toMatchObject({ status: 'done', attempts: 1, result: { by: 'the batch' } });
    expect(queue.ledger.of('c')).toMatchObject({ status: 'done', attempts: 1, result: { by: 'itself' } });
  });

  test('whose batch hangs when the grace of a stop is over is handed back for what has not ended; the next worker does that, and only that', async () => {
    const effects: string[] = [];
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const untilAborted = (signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => {
        if (signal.aborted) reject(signal.reason as Error);
        else signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    const first = await queue.work({
      graceMs: 100,
      // It ends one, has begun something for another that ends by its signal, and never gets to the third.
      batch: async (_messages, { signal }) => {
        effects.push('a');
        const sending = untilAborted(signal);
        begin();
        await sending.catch(() => undefined);
        return new Map<string, BatchAnswer<{ n: number }, null>>([
          ['a', done()],
          ['b', () => sending],
        ]);
      },
      work: (_payload, { signal }) => untilAborted(signal),
    });
    await seal('a', 'b', 'c');
    await begun;
    await first.close();
    expect(queue.ledger.of('a')).toMatchObject({ status: 'done', attempts: 1 });
    for (const messageId of ['b', 'c']) expect(queue.ledger.of(messageId)).toMatchObject({ status: 'retrying', attempts: 1, failures: 0 });
    await queue.work({
      // None of them is in its first run any more.
      batch: (messages) => {
        effects.push(...messages.map(({ messageId }) => `${messageId}, in a batch`));
        return Promise.resolve(new Map());
      },
      work: (_payload, { messageId }) => {
        effects.push(messageId);
        return Promise.resolve(done());
      },
    });
    await queue.status('b', 'done');
    await queue.status('c', 'done');
    await queue.gone();
    expect(effects.toSorted()).toEqual(['a', 'b', 'c']);
    for (const messageId of ['b', 'c']) expect(queue.ledger.of(messageId)).toMatchObject({ failures: 0, attempts: 2 });
  });

  test('whose batch is aborted by a stop begins nothing anew: what was not begun is handed back as it is', async () => {
    const anew: string[] = [];
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const worker = await queue.work({
      graceMs: 100,
      batch: (_messages, { signal }) => {
        begin();
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve(new Map()), { once: true }));
      },
      work: (_payload, { messageId }) => {
        anew.push(messageId);
        return Promise.resolve(done());
      },
    });
    await seal('a', 'b');
    await begun;
    await worker.close();
    expect(anew).toEqual([]);
    for (const messageId of ['a', 'b']) expect(queue.ledger.of(messageId)).toMatchObject({ status: 'retrying', failures: 0, carrier: 'e2-ab' });
  });

  test('whose batch is aborted because the lock was lost begins nothing anew beside the run that follows', async () => {
    const ran: unknown[] = [];
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    await queue.work({
      batch: (messages, { signal }) => {
        if (messages.length === 0) return Promise.resolve(new Map());
        begin();
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve(new Map()), { once: true }));
      },
      work: (_payload, { messageId, attempt }) => {
        ran.push([messageId, attempt]);
        return Promise.resolve(done());
      },
    });
    await seal('a', 'b');
    await begun;
    expect(await queue.redis.del(`${queue.prefix}:work:e2-ab:lock`)).toBe(1);
    await queue.status('b', 'done');
    await queue.gone();
    expect(ran).toEqual([
      ['a', 2],
      ['b', 2],
    ]);
  });

  test('in a batch counts as so many jobs that run as it has messages', async () => {
    const metrics = createMetrics('test');
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: end, resolve: letGo } = Promise.withResolvers<void>();
    await queue.work({
      metrics,
      batch: async (messages) => {
        begin();
        await end;
        return new Map(messages.map(({ messageId }) => [messageId, done()]));
      },
      work: () => Promise.resolve(done()),
    });
    await seal('a', 'b');
    await begun;
    expect(await metrics.registry.getSingleMetricAsString('backhaul_jobs_running')).toMatch(/\} 2$/m);
    letGo();
    await queue.gone();
    expect(await metrics.registry.getSingleMetricAsString('backhaul_jobs_running')).toMatch(/\} 0$/m);
  });
});
