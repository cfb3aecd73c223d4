import { type Logger, withDeadline } from '@backhaul/runtime';
import { Redis } from 'ioredis';
import type { RedisAddress } from './env.ts';

/** Redis did not answer, or refused for lack of memory. Transient: nothing was promised, try again. */
export class QueueUnavailable extends Error {
  readonly code = 'queue_unavailable';

  constructor(cause: unknown) {
    super(`the queues on Redis are not available: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'QueueUnavailable';
  }
}

/** Redis is set up so that it may throw jobs away. The operator must act. */
export class UnsafeRedis extends Error {
  readonly code = 'unsafe_redis';

  constructor(message: string) {
    super(message);
    this.name = 'UnsafeRedis';
  }
}

/** Reconnects for ever: 50 ms at first, 2 s at most, with jitter so that a fleet does not come back in one moment. */
const reconnect = { retryStrategy: (times: number) => Math.min(2_000, 50 * 2 ** Math.min(times, 6)) * (0.75 + Math.random() / 2), connectTimeout: 5_000 };

/** A connection for producers: a command fails within two seconds when Redis is away, instead of waiting in memory. */
export function failFast(options: RedisAddress, log: Logger): Redis {
  return listen(new Redis({ ...options, ...reconnect, enableOfflineQueue: false, maxRetriesPerRequest: 0, commandTimeout: 2_000 }), log);
}

/** A connection for workers: commands wait until Redis is back. */
export function patient(options: RedisAddress, log: Logger): Redis {
  return listen(new Redis({ ...options, ...reconnect, maxRetriesPerRequest: null }), log);
}

/** Waits for a `failFast` connection's first contact, so that its first command does not fail for being early. */
export async function whenReady(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  await withDeadline(
    'connecting to Redis',
    timeoutMs,
    new Promise<void>((resolve) => {
      redis.once('ready', () => resolve());
    }),
  ).catch((error: unknown) => {
    throw new QueueUnavailable(error);
  });
}

/**
 * Refuses a Redis that evicts keys: it would drop jobs in silence when full.
 * Without an append-only file it only warns: what a restart loses is added
 * again from the record.
 *
 * @throws {UnsafeRedis} unless `maxmemory-policy` is `noeviction`
 */
export async function assertSafe(redis: Redis, log: Logger): Promise<void> {
  const info = await redis.info();
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy !== 'noeviction') {
    throw new UnsafeRedis(
      `Redis has maxmemory-policy ${policy ?? 'unknown'}, which may drop jobs; mend it with: redis-cli config set maxmemory-policy noeviction`,
    );
  }
  if (/^aof_enabled:0/m.test(info)) log.warn('Redis has no append-only file: a restart loses queued jobs until they are added again from the record');
}

function listen(redis: Redis, log: Logger): Redis {
  let away = false;
  // Without a listener each lost connection would be printed to stderr by ioredis itself; one line per outage is enough.
  redis.on('error', (error) => {
    if (!away) log.warn('Redis connection failed', { error });
    away = true;
  });
  redis.on('ready', () => {
    if (away) log.info('Redis connection is back');
    away = false;
  });
  return redis;
}
