import { integer, milliseconds, port, secret, text, url } from '@backhaul/runtime';

/** Where Redis is. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  readonly tls?: Record<string, never>;
}

/** The variables of whoever uses the Bull queues: REDIS_URL, or REDIS_HOST with its companions. */
export const redisEnv = {
  /** redis://user:password@host:port/db, or rediss:// for TLS. Wins over REDIS_HOST. */
  REDIS_URL: url('redis', 'rediss').optional(),
  REDIS_HOST: text().default('127.0.0.1'),
  REDIS_PORT: port().default(6379),
  REDIS_PASSWORD: secret().optional(),
  /** The prefix of every key of the Bull queues. */
  QUEUE_PREFIX: text().default('bull'),
};

/** The variables of whoever runs jobs. */
export const workerEnv = {
  /** How long a job belongs to its worker without a sign of life. */
  WORKER_LOCK_DURATION_MS: milliseconds({ min: 500 }).default(30_000),
  /** How often workers look for jobs whose worker died. */
  WORKER_STALLED_INTERVAL_MS: milliseconds({ min: 500 }).default(30_000),
  /** How long running jobs may go on when a stop begins, before they are handed back. Below SHUTDOWN_TIMEOUT_MS. */
  WORKER_STOP_GRACE_MS: milliseconds().default(20_000),
};

/** How many jobs one process runs at once. */
export const concurrency = (byDefault: number) => integer({ min: 1, max: 1_000 }).default(byDefault);

/** The connection that the variables describe. */
export function redisOptions(config: {
  REDIS_URL?: string | undefined;
  REDIS_HOST: string;
  REDIS_PORT: number;
  REDIS_PASSWORD?: string | undefined;
}): RedisAddress {
  if (config.REDIS_URL === undefined) {
    return { host: config.REDIS_HOST, port: config.REDIS_PORT, ...(config.REDIS_PASSWORD === undefined ? {} : { password: config.REDIS_PASSWORD }) };
  }
  const address = new URL(config.REDIS_URL);
  return {
    host: address.hostname.replace(/^\[|\]$/g, ''),
    port: Number(address.port || 6379),
    ...(address.username === '' ? {} : { username: decodeURIComponent(address.username) }),
    ...(address.password === '' ? {} : { password: decodeURIComponent(address.password) }),
    ...(address.pathname.length > 1 ? { db: Number(address.pathname.slice(1)) } : {}),
    ...(address.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}
