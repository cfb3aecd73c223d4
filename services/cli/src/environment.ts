import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';

/** An environment, as `process.env` is one. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What says that the caller has a fleet of their own in mind. */
const ADDRESSES = ['RABBITMQ_URL', 'DATABASE_URL', 'REDIS_URL', 'REDIS_HOST', 'AWS_S3_BUCKET'] as const;

/**
 * The environment itself if it names any server, else that of the stack that
 * `make up` keeps running, from `.backhaul/env`. Never a mix of the two: half
 * of one fleet and half of another would be worse than an error.
 */
export function fleetEnvironment(env: Environment, repositoryRoot: string): Environment {
  if (ADDRESSES.some((name) => env[name] !== undefined && env[name] !== '')) return env;
  try {
    return { ...env, ...parseEnv(readFileSync(join(repositoryRoot, '.backhaul', 'env'), 'utf8')) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return env;
    throw error;
  }
}
