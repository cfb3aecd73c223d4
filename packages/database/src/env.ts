import { integer, milliseconds, url } from '@backhaul/runtime';

/** The variables of whoever uses Postgres. */
export const databaseEnv = {
  /** postgres://user:password@host:port/database */
  DATABASE_URL: url('postgres', 'postgresql'),
  /** Connections at most, per process. */
  DATABASE_POOL_SIZE: integer({ min: 1, max: 200 }).default(10),
  /** The longest that one statement may take. */
  DATABASE_STATEMENT_TIMEOUT_MS: milliseconds().default(30_000),
};
