import type { Database } from '@backhaul/database';
import type { Cursors } from '@backhaul/jobs/cleanup';

/** `backhaul.cursors`. */
export function postgresCursors(database: Database): Cursors {
  return {
    async load(name) {
      const { rows } = await database.query<{ position: string }>('SELECT position FROM backhaul.cursors WHERE name = $1', [name]);
      return rows[0]?.position;
    },
    async save(name, position) {
      if (position === undefined) {
        await database.query('DELETE FROM backhaul.cursors WHERE name = $1', [name]);
        return;
      }
      await database.query(
        `INSERT INTO backhaul.cursors (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET position = excluded.position, updated_at = now()`,
        [name, position],
      );
    },
  };
}
