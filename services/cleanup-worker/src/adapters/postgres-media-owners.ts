import type { Database } from '@backhaul/database';
import type { MediaOwners } from '@backhaul/jobs/cleanup';

/** Looks owners up in `messages` and `stories`. */
export function postgresMediaOwners(database: Database): MediaOwners {
  return {
    async existing(messageIds) {
      const { rows } = await database.query<{ id: string }>('SELECT id::text AS id FROM messages WHERE id = ANY($1::uuid[])', [messageIds]);
      return new Set(rows.map((row) => row.id));
    },
    async shown(urls) {
      const { rows } = await database.query<{ url: string }>(
        `SELECT media_url AS url FROM messages WHERE media_url = ANY($1) UNION SELECT thumbnail_url FROM messages WHERE thumbnail_url = ANY($1)
         UNION SELECT media_url FROM stories WHERE media_url = ANY($1) UNION SELECT thumbnail_url FROM stories WHERE thumbnail_url = ANY($1)`,
        [urls],
      );
      return new Set(rows.map((row) => row.url));
    },
  };
}
