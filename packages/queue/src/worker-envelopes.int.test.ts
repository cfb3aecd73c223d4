import { pause, silentLogger } from '@backhaul/runtime';
import { describe, expect, test } from 'vitest';
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
});
