import { type Finding, advice, ok, problem } from './finding.ts';

/** BullMQ 6 refuses to work on older ones. */
const OLDEST = [6, 2] as const;

/** As much of a Redis connection as is used here. */
export interface RedisInfo {
  info(): Promise<string>;
}

/** Redis: its version, that it never evicts jobs, that it keeps them over a restart. */
export async function checkRedis(redis: RedisInfo): Promise<Finding[]> {
  const info = await redis.info();
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const version = field('redis_version') ?? 'unknown';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const policy = field('maxmemory_policy') ?? 'unknown';
  const findings = [
    major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])
      ? ok('redis.version', version)
      : problem('redis.version', `${version} is too old`, `use Redis ${OLDEST.join('.')} or newer`),
    policy === 'noeviction'
      ? ok('redis.eviction', 'noeviction')
      : problem(
          'redis.eviction',
          `maxmemory-policy is ${policy}: a full Redis would drop jobs in silence`,
          'redis-cli config set maxmemory-policy noeviction, and the same in redis.conf',
        ),
    field('aof_enabled') === '1'
      ? ok('redis.persistence', 'append-only file')
      : advice(
          'redis.persistence',
          'no append-only file: after a restart all open jobs are added again from the record',
          'redis-cli config set appendonly yes, and the same in redis.conf',
        ),
  ];
  if (field('role') === 'slave') findings.push(problem('redis.role', 'this server is a replica', 'point REDIS_URL at the primary'));
  return findings;
}
