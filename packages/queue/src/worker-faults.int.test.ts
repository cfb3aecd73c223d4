import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { pause } from '@backhaul/runtime';
import { startProxy } from '@backhaul/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { done } from './outcome.ts';
import { TestQueue } from './test-queue.ts';

const fixture = fileURLToPath(new URL('./fixtures/stuck-worker.ts', import.meta.url));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const queue = TestQueue.forEachTest();

describe('A worker that is killed', () => {
  /** Starts a worker process that takes `messageId`, and kills it then. */
  async function crash(messageId: string, messageIds = [messageId], carrier: string | null = null): Promise<void> {
    const child = spawn(process.execPath, [fixture, JSON.stringify({ redisUrl: queue.redisUrl, prefix: queue.prefix, messageIds, carrier })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
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
    await queue.add(['m1']);
    await crash('m1');
    await queue.work({ work: () => Promise.resolve(done()) });
    await queue.status('m1', 'done');
    await queue.gone();
  });

  test('again and again by one message of an envelope: that one alone is a dead letter `stalled`, its neighbours are done', async () => {
    // The two that are killed have a record of their own, as their memory is; what they do to it dies with them.
    const carrier = 'e3-killer';
    const ids = ['m1', 'm2', 'm3'];
    await queue.add(ids, carrier);
    await crash('m2', ids, carrier);
    await crash('m2', ids, carrier);
    // Given up as an envelope, its messages run alone; the one that kills does so again, until it is given up as well.
    const split = await queue.work({
      graceMs: 0,
      concurrency: 3,
      work: (_payload, { messageId }) => (messageId === 'm2' ? new Promise(() => undefined) : Promise.resolve(done())),
    });
    await queue.status('m1', 'done');
    await queue.status('m3', 'done');
    await split.close();
    expect(queue.ledger.of('m2').status).not.toBe('done');
    expect(await queue.producer.missing('work', [{ messageId: 'm2' }])).toEqual([]);
    await crash('m2');
    await crash('m2');
    await queue.work({ work: () => Promise.resolve(done()) });
    await queue.status('m2', 'dead');
    expect(queue.ledger.of('m2')).toMatchObject({ reason: 'stalled' });
    await queue.gone();
  }, 40_000);

  test('again and again by the same job: the job is a dead letter `stalled`, and the others run (A-05, A-06)', async () => {
    await queue.add(['m1']);
    await crash('m1');
    await crash('m1');
    await queue.add(['m2']);
    await queue.work({ work: () => Promise.resolve(done()) });
    await queue.status('m2', 'done');
    await queue.status('m1', 'dead');
    expect(queue.ledger.of('m1')).toMatchObject({ reason: 'stalled', error: { code: 'stalled' } });
    await queue.gone();
    expect(await queue.producer.missing('work', [{ messageId: 'm1' }])).toHaveLength(1);
  }, 30_000);
});

describe('Redis away', () => {
  test.each([3_000, 7_000])(
    'for %d ms in the middle of a job: the job ends, and the next ones are taken (A-14)',
    async (awayMs) => {
      const proxy = await startProxy({ target: queue.redisUrl });
      let finish: () => void = () => undefined;
      await queue.work({
        redisUrl: proxy.url,
        lockMs: 30_000,
        work: async (_payload, { messageId }) => {
          if (messageId === 'm1') await new Promise<void>((resolve) => (finish = resolve));
          return done();
        },
      });
      await queue.add(['m1']);
      await queue.status('m1', 'active');
      await proxy.refuse();
      await pause(awayMs / 2);
      finish();
      await pause(awayMs / 2);
      await proxy.listen();
      await queue.status('m1', 'done', 15_000);
      await queue.add(['m2']);
      await queue.status('m2', 'done', 15_000);
      await queue.closeWorkers();
      await proxy.close();
    },
    60_000,
  );

  test('for a moment, and back empty, in the middle of a job: the job ends, and the next ones are taken (A-15)', async () => {
    let finish: () => void = () => undefined;
    await queue.work({
      work: async (_payload, { messageId }) => {
        if (messageId === 'm1') await new Promise<void>((resolve) => (finish = resolve));
        return done();
      },
    });
    await queue.add(['m1']);
    await queue.status('m1', 'active');
    await queue.wipe();
    finish();
    await queue.status('m1', 'done');
    await queue.add(['m2']);
    await queue.status('m2', 'done', 15_000);
  });

  test.each(['idle', 'running'])(
    'for good while a worker closes that is %s: the close ends all the same (A-11)',
    async (state) => {
      const proxy = await startProxy({ target: queue.redisUrl });
      const worker = await queue.work({
        redisUrl: proxy.url,
        graceMs: 200,
        work: (_payload, { signal, messageId }) =>
          messageId === 'm1'
            ? Promise.resolve(done())
            : new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
      });
      await queue.add(['m1']);
      await queue.status('m1', 'done');
      if (state === 'running') {
        await queue.add(['m2']);
        await queue.status('m2', 'active');
      }
      await proxy.refuse();
      const closed = await Promise.race([worker.close().then(() => true), pause(15_000).then(() => false)]);
      expect(closed).toBe(true);
      await proxy.close();
    },
    30_000,
  );
});
