import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addBatch, defineAddBatch } from './add-batch.ts';

const prefix = `test-${randomUUID()}`;
let redis: Redis;

beforeAll(() => {
  redis = new Redis(process.env['REDIS_URL'] ?? '', { maxRetriesPerRequest: null });
  defineAddBatch(redis);
});

afterAll(async () => {
  const keys = await redis.keys(`${prefix}:*`);
  if (keys.length > 0) await redis.del(keys);
  redis.disconnect();
});

const jobs = Array.from({ length: 12 }, (_, index) => ({
  id: `j${index}`,
  name: index % 2 === 0 ? 'media.process-image' : 'media.transcode-video',
  data: JSON.stringify({ messageId: `message "${index}" ü` }),
  priority: 1_000 - (index % 3),
}));

/** Everything a queue has in Redis, without the queue's name and the moment. */
async function contents(queue: string): Promise<Record<string, unknown>> {
  const base = `${prefix}:${queue}:`;
  const found: Record<string, unknown> = {};
  for (const key of (await redis.keys(`${base}*`)).toSorted()) {
    const name = key.slice(base.length);
    switch (await redis.type(key)) {
      case 'hash': {
        const { timestamp: _timestamp, opts, ...hash } = await redis.hgetall(key);
        found[name] = { ...hash, ...(opts === undefined ? {} : { opts: JSON.parse(opts) as unknown }) };
        break;
      }
      case 'zset':
        found[name] = await redis.zrange(key, '0', '-1', 'WITHSCORES');
        break;
      case 'stream':
        found[name] = (await redis.xrange(key, '-', '+')).map(([, fields]) => fields).filter((fields) => fields.length > 0);
        break;
      case 'list':
        found[name] = await redis.lrange(key, 0, -1);
        break;
      default:
        found[name] = await redis.get(key);
    }
  }
  return found;
}

test('A batch leaves in Redis exactly what addBulk leaves there', async () => {
  const theirs = new Queue('theirs', { connection: redis, prefix, skipMetasUpdate: true });
  const bulk = jobs.map(({ id, name, data, priority }) => ({ name, data: JSON.parse(data) as unknown, opts: { jobId: id, priority } }));
  await theirs.addBulk(bulk);
  await theirs.addBulk(bulk.slice(0, 3));
  await addBatch(redis, prefix, 'ours', jobs);
  await addBatch(redis, prefix, 'ours', jobs.slice(0, 3));

  expect(await contents('ours')).toEqual(await contents('theirs'));
  await theirs.close();
});

test('Only the entries that are new are counted, and the depth of the queue is told', async () => {
  expect(await addBatch(redis, prefix, 'counted', jobs.slice(0, 5))).toEqual({ added: 5, depth: 5 });
  expect(await addBatch(redis, prefix, 'counted', jobs.slice(3, 8))).toEqual({ added: 3, depth: 8 });
});

test('A paused queue wakes no worker', async () => {
  const queue = new Queue('paused', { connection: redis, prefix });
  await queue.pause();
  await addBatch(redis, prefix, 'paused', jobs);
  expect(await redis.exists(`${prefix}:paused:marker`)).toBe(0);
  await queue.close();
});
