import { randomUUID } from 'node:crypto';
import { silentLogger } from '@backhaul/runtime';
import { type Stack, eventually, sharedStack, startProxy, startStack } from '@backhaul/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisOptions } from './env.ts';
import { createProducer } from './producer.ts';
import { QueueUnavailable, UnsafeRedis, assertSafe, failFast, whenReady } from './redis.ts';
import { memoryLedger } from './test-ledger.ts';
import { startTestWorker } from './test-worker.ts';

const address = (url: string) => redisOptions({ REDIS_URL: url, REDIS_HOST: '', REDIS_PORT: 0 });
const job = (messageId: string) => ({ messageId, name: 'work.test', priority: 1, traceparent: null });

describe('A producer', () => {
  const url = sharedStack().env['REDIS_URL'] ?? '';
  const prefix = `test-${randomUUID()}`;
  const open = (from = url) => createProducer({ redis: address(from), prefix, log: silentLogger });

  afterAll(async () => {
    const redis = new Redis(url);
    const keys = await redis.keys(`${prefix}:*`);
    if (keys.length > 0) await redis.del(keys);
    redis.disconnect();
  });

  test('adds a job once, and tells which are missing', async () => {
    const producer = await open();
    await producer.addBatch('once', []);
    await producer.addBatch('once', [job('a'), job('b'), job('a')]);
    await producer.addBatch('once', [job('b')]);
    expect(await producer.depth('once')).toBe(2);
    expect(await producer.missing('once', [{ messageId: 'a' }, { messageId: 'x' }, { messageId: 'b' }, { messageId: 'y' }])).toEqual([
      { messageId: 'x' },
      { messageId: 'y' },
    ]);
    expect(await producer.missing('once', [])).toEqual([]);
    await producer.close();
  });

  test('puts the jobs of a carrier into one Bull job, counts its messages, and finds none of them missing', async () => {
    const producer = await open();
    const carried = (messageId: string, carrier = 'e3-abc') => ({ ...job(messageId), carrier });
    await producer.addBatch('carried', [carried('a'), job('alone'), carried('b'), carried('c')]);
    await producer.addBatch('carried', [carried('a'), carried('b'), carried('c')]);
    expect(await producer.depth('carried')).toBe(4);
    expect(await producer.redis.zcard(`${prefix}:carried:prioritized`)).toBe(2);
    expect(producer.seenDepth('carried')).toBe(4);
    const looked = [carried('a'), job('alone'), job('b'), carried('d', 'e9-gone'), { ...carried('alone', 'e9-gone') }];
    expect((await producer.missing('carried', looked)).map(({ messageId }) => messageId)).toEqual(['b', 'd']);
    await producer.close();
  });

  test('fails fast while Redis is away, and works again afterwards (B-07)', async () => {
    const proxy = await startProxy({ target: url });
    const producer = await open(proxy.url);
    await proxy.refuse();
    for (let round = 0; round < 3; round += 1) {
      const startedAt = Date.now();
      await expect(producer.addBatch('away', [job('a')])).rejects.toBeInstanceOf(QueueUnavailable);
      expect(Date.now() - startedAt).toBeLessThan(2_500);
    }
    await proxy.listen();
    await eventually(() => producer.addBatch('away', [job('a')]));
    expect(await producer.depth('away')).toBe(1);
    await producer.close();
    await proxy.close();
  });

  test('fails within about two seconds when the network swallows everything (B-07)', async () => {
    const proxy = await startProxy({ target: url });
    const producer = await open(proxy.url);
    proxy.set({ blackhole: true });
    const startedAt = Date.now();
    await expect(producer.addBatch('hole', [job('a')])).rejects.toBeInstanceOf(QueueUnavailable);
    await expect(producer.depth('hole')).rejects.toBeInstanceOf(QueueUnavailable);
    expect(Date.now() - startedAt).toBeLessThan(7_500);
    proxy.set({});
    proxy.cut();
    await eventually(() => producer.addBatch('hole', [job('a')]));
    const closing = Date.now();
    proxy.set({ blackhole: true });
    await producer.close();
    expect(Date.now() - closing).toBeLessThan(2_500);
    await proxy.close();
  });

  test('whose Redis is not there from the start says so', async () => {
    const nobody = failFast({ host: '127.0.0.1', port: 1 }, silentLogger);
    await expect(whenReady(nobody, 200)).rejects.toBeInstanceOf(QueueUnavailable);
    nobody.disconnect();
  });
});

describe('A Redis that is set up otherwise', () => {
  let stack: Stack;
  let admin: Redis;
  beforeAll(async () => {
    stack = await startStack({ dir: `.backhaul/test-redis-${randomUUID()}`, only: ['redis'] });
    admin = new Redis(stack.redis.url);
  });
  afterAll(async () => {
    admin.disconnect();
    await stack.stop({ removeData: true });
  });

  test('may not evict: a worker refuses to start, with the command that mends it (B-11)', async () => {
    const redis = failFast(address(stack.redis.url), silentLogger);
    await whenReady(redis, 5_000);
    await assertSafe(redis, silentLogger);
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await expect(assertSafe(redis, silentLogger)).rejects.toThrow(/maxmemory-policy allkeys-lru.*config set maxmemory-policy noeviction/);
    await expect(
      startTestWorker({ redisUrl: stack.redis.url, prefix: 'x', ledger: memoryLedger(), work: () => Promise.reject(new Error('never')) }),
    ).rejects.toBeInstanceOf(UnsafeRedis);
    await admin.config('SET', 'maxmemory-policy', 'noeviction');
    redis.disconnect();
  });

  test('without an append-only file only warns', async () => {
    const warnings: string[] = [];
    const redis = failFast(address(stack.redis.url), silentLogger);
    await whenReady(redis, 5_000);
    await admin.config('SET', 'appendonly', 'no');
    await assertSafe(redis, { ...silentLogger, warn: (message) => void warnings.push(message) });
    expect(warnings).toHaveLength(1);
    redis.disconnect();
  });

  test('that is full takes no job and no part of one; with room again it does (B-10)', async () => {
    const producer = await createProducer({ redis: address(stack.redis.url), prefix: 'full', log: silentLogger });
    await admin.config('SET', 'maxmemory', '1');
    await expect(producer.addBatch('work', [job('a'), job('b')])).rejects.toThrow(QueueUnavailable);
    expect(await admin.keys('full:*')).toEqual([]);
    await producer.ping();
    await expect(producer.probe()).rejects.toThrow(QueueUnavailable);
    await admin.config('SET', 'maxmemory', '0');
    await producer.addBatch('work', [job('a'), job('b')]);
    expect(await producer.depth('work')).toBe(2);
    await producer.probe();
    await producer.close();
  });
});
