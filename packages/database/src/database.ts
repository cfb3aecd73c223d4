import { hash } from 'node:crypto';
import { DeadlineExceeded, type Logger } from '@backhaul/runtime';
import pg from 'pg';

/** Values that a statement takes: pg's own conversions apply (Date, Buffer, arrays, objects as JSON). */
export type SqlValue = string | number | bigint | boolean | null | Date | Buffer | readonly SqlValue[] | Readonly<Record<string, unknown>>;

/** A statement's rows and how many it touched. */
export interface SqlResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number;
}

/** Runs one statement; inside `transaction`, on its connection. */
export interface Queryable {
  /**
   * @param sql one statement with $1.. parameters; never text from outside
   * @param how prepared: parsed and planned once per connection. Only for statements that are asked all the time and have one plan:
   *   a plan that was made while a table was empty is kept when it is full.
   * @throws {DatabaseUnavailable} no connection, or no answer in time: try again later
   * @throws {pg.DatabaseError} the statement itself failed; `code` is the SQLSTATE
   */
  query<Row extends object = Record<string, unknown>>(sql: string, values?: readonly SqlValue[], how?: 'prepared'): Promise<SqlResult<Row>>;
}

/** A pool of connections to Postgres. Every statement has a deadline; lost connections are replaced on the next use. */
export interface Database extends Queryable {
  /** Runs `work` in one transaction: commits when it resolves, rolls back when it throws. */
  transaction<Result>(work: (client: Queryable) => Promise<Result>): Promise<Result>;
  /** Resolves when the server answers. */
  ping(): Promise<void>;
  /** Waits for running statements, then closes every connection. */
  close(): Promise<void>;
}

/** Postgres did not answer, or chose this transaction as a deadlock's victim: the network, a restart, too many connections. Transient. */
export class DatabaseUnavailable extends Error {
  readonly code = 'database_unavailable';

  constructor(cause: unknown) {
    super(`the database is not available: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'DatabaseUnavailable';
  }
}

/** How the pool is made. */
export interface DatabaseOptions {
  readonly url: string;
  /** Connections at most. */
  readonly poolSize: number;
  /** The longest one statement may take; enforced by the server and, should it be gone, by the client a second later. */
  readonly statementTimeoutMs: number;
  readonly applicationName: string;
  readonly log: Logger;
}

/** Makes the pool. It connects on first use. */
export function createDatabase(options: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolSize,
    application_name: options.applicationName,
    statement_timeout: options.statementTimeoutMs,
    query_timeout: options.statementTimeoutMs + 1_000,
    // Without it a blackholed server holds every caller for the kernel's two minutes.
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
  });
  // An idle connection that the server closes emits here; without a listener it ends the process.
  pool.on('error', (error) => options.log.warn('idle database connection lost', { error }));

  let prepares = true;
  const run = async <Row extends object>(
    client: pg.Pool | pg.PoolClient,
    sql: string,
    values?: readonly SqlValue[],
    how?: 'prepared',
  ): Promise<SqlResult<Row>> => {
    const prepared = how === 'prepared' && prepares;
    try {
      const result = await client.query<Row>({ text: sql, values: values as unknown[], ...(prepared ? { name: nameOf(sql) } : {}) });
      return { rows: result.rows, rowCount: result.rowCount ?? 0 };
    } catch (error) {
      if (!prepared || !isLost(error)) throw classify(error);
      // Nothing was done: the statement was not found, or could not be named.
      if (prepares) options.log.warn('a pooler between here and the database loses prepared statements: they are not used any more', { error });
      prepares = false;
      if (client !== pool) throw new DatabaseUnavailable(error);
      return run<Row>(client, sql, values);
    }
  };

  return {
    query: (sql, values, how) => run(pool, sql, values, how),
    async transaction(work) {
      const client = await pool.connect().catch((error: unknown) => {
        throw classify(error);
      });
      // A checked-out connection has no listener of the pool's: its loss would end the process.
      const onError = (error: Error) => options.log.warn('database connection lost in a transaction', { error });
      client.on('error', onError);
      let broken: Error | undefined;
      try {
        await run(client, 'BEGIN');
        const result = await work({ query: (sql, values, how) => run(client, sql, values, how) });
        await commit(client);
        return result;
      } catch (error) {
        await run(client, 'ROLLBACK').catch((rollbackError: unknown) => {
          broken = rollbackError instanceof Error ? rollbackError : new Error(String(rollbackError));
        });
        throw error;
      } finally {
        client.off('error', onError);
        // A connection whose rollback failed may still be inside the transaction: never hand it out again.
        client.release(broken);
      }
    },
    async ping() {
      await run(pool, 'SELECT 1');
    },
    async close() {
      await pool.end();
    },
  };
}

const names = new Map<string, string>();

/** A statement's name is made of its text: behind a pooler that shares connections the same name is never another statement. */
function nameOf(sql: string): string {
  let name = names.get(sql);
  if (name === undefined) {
    name = `backhaul_${hash('sha256', sql).slice(0, 16)}`;
    names.set(sql, name);
  }
  return name;
}

/** 26000: there is no such prepared statement; 42P05: there is one already. PgBouncer answers so in transaction mode before its version 1.21. */
function isLost(error: unknown): boolean {
  return error instanceof pg.DatabaseError && (error.code === '26000' || error.code === '42P05');
}

/** Commits. After a statement whose failure `work` swallowed, COMMIT succeeds as a rollback: the caller must not take that for done. */
async function commit(client: pg.PoolClient): Promise<void> {
  const { command } = await client.query('COMMIT').catch((error: unknown) => {
    throw classify(error);
  });
  if (command !== 'COMMIT') throw new Error('the transaction was rolled back: one of its statements failed before');
}

/** SQLSTATE classes that say "not now": connection (08), deadlock or serialization (40), resources (53), operator intervention (57, without 57014 query_canceled). */
function classify(error: unknown): unknown {
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? '';
    return (/^(08|40|53|57)/.test(code) && code !== '57014') || code === '25006' ? new DatabaseUnavailable(error) : error;
  }
  return error instanceof DeadlineExceeded || error instanceof Error ? new DatabaseUnavailable(error) : error;
}

/** The SQLSTATE of a failed statement, if that is what `error` is. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}
