import type { Holds, Queryable } from '@backhaul/database';
import type { Messages } from '@backhaul/jobs/media';

/** The app may keep keys of its own beside ours; something that is no object gives way. */
const MERGED = `CASE WHEN jsonb_typeof(media_metadata::jsonb) = 'object' THEN media_metadata::jsonb ELSE '{}'::jsonb END || $2::jsonb`;

/** The chat's table `messages` in Postgres. */
export function pgMessageStore(database: Queryable, holds: Holds): Messages {
  return {
    hold: (messageId) => holds.hold(`media:${messageId}`),
    async find(messageId) {
      const { rows } = await database.query<{ deleted: boolean; metadata: unknown }>(
        `SELECT deleted_at IS NOT NULL AS deleted, media_metadata AS metadata FROM messages WHERE id = $1`,
        [messageId],
      );
      return rows[0];
    },
    async complete(messageId, { mediaUrl, thumbnailUrl, metadata }) {
      // One statement: it sees a delete that committed before it, and a delete that waits for it sees its outcome.
      const { rows } = await database.query<{ stored: boolean }>(
        `WITH stored AS (
           UPDATE messages SET media_metadata = ${MERGED}, media_url = $3, thumbnail_url = $4, updated_at = now()
           WHERE id = $1 AND deleted_at IS NULL RETURNING id)
         SELECT EXISTS (SELECT FROM stored) AS stored FROM (SELECT 1) one
         WHERE EXISTS (SELECT FROM stored) OR EXISTS (SELECT FROM messages WHERE id = $1)`,
        [messageId, toJsonb(metadata), mediaUrl, thumbnailUrl],
      );
      const row = rows[0];
      return row === undefined ? 'missing' : row.stored ? 'stored' : 'deleted';
    },
    async fail(messageId, processing) {
      await database.query(`UPDATE messages SET media_metadata = ${MERGED}, updated_at = now() WHERE id = $1 AND deleted_at IS NULL`, [
        messageId,
        toJsonb({ processing }),
      ]);
    },
  };
}

/** Postgres refuses two things that JSON allows, and that a hostile file name or an error message may bring along: NUL and half surrogates. */
function toJsonb(value: object): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'string' ? part.toWellFormed().replaceAll('\0', '\uFFFD') : part));
}
