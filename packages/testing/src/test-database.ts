import { randomUUID } from 'node:crypto';
import { type Database, type DatabaseOptions, createDatabase, migrate } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { sharedStack } from './shared-stack.ts';

/** A database of a test file's own on the shared Postgres. */
export type TestDatabase = {
  /** A pool of four connections. */
  readonly database: Database;
  /** Its URL: for child processes, proxies, and pools of other sizes. */
  readonly url: string;
  /** Another pool on it; closed with it. */
  open(options?: Partial<DatabaseOptions>): Database;
  /** Closes every pool and drops the database. */
  close(): Promise<void>;
};

/**
 * Creates an empty database on the shared Postgres.
 *
 * @param options.migrated whether it gets the schema `backhaul` (default true)
 */
export async function testDatabase({ migrated = true }: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const address = new URL(sharedStack().env['DATABASE_URL'] ?? '');
  const defaults = { poolSize: 4, statementTimeoutMs: 10_000, applicationName: 'test', log: silentLogger };
  const server = createDatabase({ ...defaults, url: address.href, poolSize: 1 });
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await server.query(`CREATE DATABASE ${name}`);
  address.pathname = name;
  const url = address.href;
  const pools: Database[] = [];
  const open = (options: Partial<DatabaseOptions> = {}) => {
    const pool = createDatabase({ ...defaults, url, ...options });
    pools.push(pool);
    return pool;
  };
  const database = open();
  if (migrated) await migrate(database);
  return {
    database,
    url,
    open,
    async close() {
      // A test may have closed its own pool already.
      await Promise.allSettled(pools.map((pool) => pool.close()));
      await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await server.close();
    },
  };
}
