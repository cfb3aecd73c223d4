import type { Database } from '@backhaul/database';
import type { Sessions } from '@backhaul/jobs/cleanup';

/**
 * `user_sessions`; a session that was never active counts from when it was
 * made. Two statements, not one with OR: each then walks an index from its old
 * end, where the entries that earlier batches deleted are skipped without a
 * look at the table. Without that a million deletions read the dead rows of
 * all batches before in every batch.
 */
export function postgresSessions(database: Database): Sessions {
  async function oldestFirst(statement: (idle: string) => string, options: { idleMs: number; limit: number }): Promise<number> {
    let total = 0;
    for (const [idle, order] of [
      [`last_active_at < now() - $1 * interval '1 millisecond'`, 'last_active_at'],
      [`last_active_at IS NULL AND created_at < now() - $1 * interval '1 millisecond'`, 'created_at'],
    ]) {
      if (total >= options.limit) break;
      const { rowCount } = await database.query(statement(`${idle} ORDER BY ${order} LIMIT $2 FOR UPDATE SKIP LOCKED`), [
        options.idleMs,
        options.limit - total,
      ]);
      total += rowCount;
    }
    return total;
  }
  return {
    deleteIdle: (options) => oldestFirst((idle) => `DELETE FROM user_sessions WHERE id = ANY(ARRAY(SELECT id FROM user_sessions WHERE ${idle}))`, options),
    markAway: (options) =>
      oldestFirst(
        (idle) => `UPDATE user_sessions SET is_active = false WHERE id = ANY(ARRAY(SELECT id FROM user_sessions WHERE is_active AND ${idle}))`,
        options,
      ),
  };
}
