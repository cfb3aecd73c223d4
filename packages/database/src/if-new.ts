import { type Queryable, type SqlValue, sqlState } from './database.ts';

/** After rows that were not new others are likely: a redelivery, a publisher that sends all twice. To try would then cost more than it saves. */
const REST_MS = 10_000;

/** SQLSTATE of a function that is not there: the schema is of an older version, and will be brought up to date. */
const UNDEFINED_FUNCTION = '42883';

/** Inserts rows if all of them are new. False: nothing was inserted, and whether they are new is not known. */
export type InsertIfNew = (client: Queryable, values: readonly SqlValue[]) => Promise<boolean>;

/**
 * The cheap way to insert rows that are nearly always new.
 *
 * @param call of a function of 0016-new-rows.sql
 */
export function insertingIfNew(call: string, restMs = REST_MS): InsertIfNew {
  let restsUntil = -Infinity;
  return async (client, values) => {
    if (performance.now() < restsUntil) return false;
    try {
      const { rows } = await client.query<{ inserted: boolean }>(`SELECT ${call} AS inserted`, values, 'prepared');
      if (rows[0]?.inserted === true) return true;
    } catch (error) {
      if (sqlState(error) !== UNDEFINED_FUNCTION) throw error;
    }
    restsUntil = performance.now() + restMs;
    return false;
  };
}
