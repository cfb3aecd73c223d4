import type { Database } from '@backhaul/database';
import type { Prekeys } from '@backhaul/jobs/cleanup';

/** `user_prekeys`. */
export function postgresPrekeys(database: Database): Prekeys {
  return {
    async usersAfter(after, limit) {
      const { rows } = await database.query<{ id: string }>(
        `SELECT u.user_id::text AS id FROM (
           SELECT DISTINCT user_id FROM user_prekeys ${after === undefined ? '' : 'WHERE user_id > $2'} ORDER BY user_id LIMIT $1) u
         ORDER BY u.user_id`,
        after === undefined ? [limit] : [limit, after],
      );
      return rows.map((row) => row.id);
    },
    async deleteOutdated({ userIds, usedForMs, unusedForMs, keepUnused, limit }) {
      // EXISTS .. OFFSET n: there are more than n newer unused ones, found without counting them all.
      const { rowCount } = await database.query(
        `DELETE FROM user_prekeys WHERE id = ANY(ARRAY(
           SELECT p.id FROM user_prekeys p
           WHERE p.user_id = ANY($1) AND (
             p.used_at < now() - $2 * interval '1 millisecond'
             OR (p.used_at IS NULL AND p.created_at < now() - $3 * interval '1 millisecond' AND EXISTS (
               SELECT 1 FROM user_prekeys n
               WHERE n.user_id = p.user_id AND n.used_at IS NULL AND (n.created_at, n.prekey_id) > (p.created_at, p.prekey_id)
               OFFSET $4)))
           LIMIT $5 FOR UPDATE OF p SKIP LOCKED))`,
        [userIds, usedForMs, unusedForMs, keepUnused - 1, limit],
      );
      return rowCount;
    },
  };
}
