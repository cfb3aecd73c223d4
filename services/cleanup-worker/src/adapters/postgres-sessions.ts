import type { Database } from '@backhaul/database';
import type { Sessions } from '@backhaul/jobs/cleanup';

/** `user_sessions`; a session that was never active counts from when it was made. */
export function postgresSessions(database: Database): Sessions {
  const idle = `(last_active_at < now() - $1 * interval '1 millisecond' OR (last_active_at IS NULL AND created_at < now() - $1 * interval '1 millisecond'))`;
  return {
    async deleteIdle({ idleMs, limit }) {
      const { rowCount } = await database.query(
        `DELETE FROM user_sessions WHERE id = ANY(ARRAY(SELECT id FROM user_sessions WHERE ${idle} LIMIT $2 FOR UPDATE SKIP LOCKED))`,
        [idleMs, limit],
      );
      return rowCount;
    },
    async markAway({ idleMs, limit }) {
      const { rowCount } = await database.query(
        `UPDATE user_sessions SET is_active = false WHERE id = ANY(ARRAY(SELECT id FROM user_sessions WHERE is_active AND ${idle} LIMIT $2 FOR UPDATE SKIP LOCKED))`,
        [idleMs, limit],
      );
      return rowCount;
    },
  };
}
