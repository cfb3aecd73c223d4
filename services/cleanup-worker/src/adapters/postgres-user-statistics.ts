import type { Database } from '@backhaul/database';
import type { UserStatistics } from '@backhaul/jobs/cleanup';

/** `backhaul.user_statistics`, counted from the chat's tables. */
export function postgresUserStatistics(database: Database): UserStatistics {
  return {
    async usersAfter(after, limit) {
      const from = (table: string, column: string) =>
        `(SELECT DISTINCT ${column} AS id FROM ${table} ${after === undefined ? '' : `WHERE ${column} > $2`} ORDER BY 1 LIMIT $1)`;
      const { rows } = await database.query<{ id: string }>(
        `SELECT u.id::text AS id FROM (${from('messages', 'sender_id')} UNION ${from('stories', 'user_id')} UNION ${from('user_sessions', 'user_id')}) u
         WHERE u.id IS NOT NULL ORDER BY u.id LIMIT $1`,
        after === undefined ? [limit] : [limit, after],
      );
      return rows.map((row) => row.id);
    },
    async refresh(userIds) {
      // Sorted: two refreshes of overlapping users that lock rows in different orders would be a deadlock.
      await database.query(
        `INSERT INTO backhaul.user_statistics AS s (user_id, messages, media, stories, last_active_at, refreshed_at)
         SELECT u.id, coalesce(m.messages, 0), coalesce(m.media, 0), coalesce(st.stories, 0), greatest(se.last_active_at, m.last_at, st.last_at), now()
         FROM unnest($1::text[]) AS u(id)
         LEFT JOIN (SELECT sender_id::text AS id, count(*) AS messages, count(media_url) AS media, max(created_at) AS last_at
                    FROM messages WHERE sender_id = ANY($2) AND deleted_at IS NULL GROUP BY sender_id) m ON m.id = u.id
         LEFT JOIN (SELECT user_id::text AS id, count(*) AS stories, max(created_at) AS last_at
                    FROM stories WHERE user_id = ANY($3) AND deleted_at IS NULL GROUP BY user_id) st ON st.id = u.id
         LEFT JOIN (SELECT user_id::text AS id, max(last_active_at) AS last_active_at
                    FROM user_sessions WHERE user_id = ANY($4) GROUP BY user_id) se ON se.id = u.id
         ORDER BY u.id
         ON CONFLICT (user_id) DO UPDATE SET messages = excluded.messages, media = excluded.media, stories = excluded.stories,
           -- Sessions and messages are deleted in time; when the user was last seen stays known.
           last_active_at = greatest(s.last_active_at, excluded.last_active_at), refreshed_at = excluded.refreshed_at`,
        [userIds, userIds, userIds, userIds],
      );
    },
  };
}
