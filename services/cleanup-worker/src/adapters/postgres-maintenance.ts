import { type Database, pruneFinished } from '@backhaul/database';
import type { Maintenance } from '@backhaul/jobs/cleanup';

/**
 * Pruning and VACUUM.
 *
 * @param options.unhurried a pool of its own, whose statements may take as long as a VACUUM does
 * @param options.retentionMs how long finished jobs stay on record, 48 h or more
 */
export function postgresMaintenance(options: { readonly database: Database; readonly unhurried: Database; readonly retentionMs: number }): Maintenance {
  return {
    async prune({ batchSize, signal }) {
      return { ...(await pruneFinished(options.database, { olderThanMs: options.retentionMs, batchSize, signal })) };
    },
    async vacuum(table) {
      // A table's name cannot be a parameter.
      if (!/^[a-z_]+$/.test(table)) throw new Error(`not a table's name: ${table}`);
      // Postgres only warns and does nothing when the table is somebody else's, as the chat's tables are in production.
      const { rows } = await options.unhurried.query<{ ours: boolean }>(
        "SELECT pg_has_role(relowner, 'USAGE') AS ours FROM pg_class WHERE oid = to_regclass($1)",
        [table],
      );
      if (rows[0]?.ours !== true)
        throw new Error(rows[0] === undefined ? 'there is no such table' : "the table belongs to another role: VACUUM is its owner's, or autovacuum's");
      // SKIP_LOCKED: waiting for a lock here would make every writer behind us wait too.
      await options.unhurried.query(`VACUUM (ANALYZE, SKIP_LOCKED) ${table}`);
    },
  };
}
