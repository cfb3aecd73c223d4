import type { Stack } from '@backhaul/testing';
import pg from 'pg';

/** The database, exchange and prefixes that the demo has for itself on servers that it did not start. */
const NAME = 'backhaul_demo';

/**
 * The variables of the demo's fleet. A server of the demo's own is used as it
 * is; on one that was given (REDIS_URL, RABBITMQ_URL, DATABASE_URL) the demo
 * keeps to names of its own: its cleanup deletes expired stories, and those of
 * somebody's real chat must not be among them.
 */
export async function isolate(stack: Stack, given: NodeJS.ProcessEnv): Promise<Record<string, string>> {
  const env = { ...stack.env };
  if (given['REDIS_URL']) env['QUEUE_PREFIX'] = NAME;
  if (given['RABBITMQ_URL']) Object.assign(env, { RABBITMQ_EXCHANGE: NAME, RABBITMQ_QUEUE_PREFIX: NAME });
  if (given['DATABASE_URL']) {
    const client = new pg.Client({ connectionString: given['DATABASE_URL'], connectionTimeoutMillis: 5_000, statement_timeout: 30_000 });
    await client.connect();
    try {
      await client.query(`DROP DATABASE IF EXISTS ${NAME} WITH (FORCE)`);
      await client.query(`CREATE DATABASE ${NAME}`);
    } finally {
      await client.end();
    }
    const url = new URL(given['DATABASE_URL']);
    url.pathname = `/${NAME}`;
    env['DATABASE_URL'] = url.toString();
  }
  return env;
}
