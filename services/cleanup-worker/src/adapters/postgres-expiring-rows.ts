import type { Database, Queryable } from '@backhaul/database';
import type { ExpiringRows, MediaRow, TemporaryFile } from '@backhaul/jobs/cleanup';

/** Stories by their age. */
export const postgresStories = (database: Database): ExpiringRows<MediaRow> => mediaRows(database, 'stories', 'created_at', 'true');

/** Messages by the time since their author deleted them. */
export const postgresMessages = (database: Database): ExpiringRows<MediaRow> => mediaRows(database, 'messages', 'deleted_at', 't.media_metadata IS NOT NULL');

/** Rows of `temporary_files` by their age. */
export function postgresTemporaryFiles(database: Database): ExpiringRows<TemporaryFile> {
  return {
    takeBatch: (options, dispose) =>
      takeBatch<{ id: string; path: string }>(
        database,
        { table: 'temporary_files', since: 'created_at', columns: 't.file_path AS path' },
        options,
        (_client, rows) => dispose(rows),
      ),
  };
}

interface Source {
  readonly table: 'stories' | 'messages' | 'temporary_files';
  /** The column whose age decides. */
  readonly since: string;
  readonly columns: string;
}

type Options = Parameters<ExpiringRows<{ id: string }>['takeBatch']>[0];

/**
 * By id, not by ctid: where the chat app has partitioned a table, the same
 * ctid names another row in each partition. `id = ANY($n)` without a cast
 * takes the id's own type, whatever it is.
 */
async function takeBatch<Row extends { readonly id: string }>(
  database: Database,
  { table, since, columns }: Source,
  { olderThanMs, limit, skip }: Options,
  dispose: (client: Queryable, rows: readonly Row[]) => Promise<readonly string[]>,
): Promise<{ taken: number; deleted: number }> {
  return database.transaction(async (client) => {
    const { rows } = await client.query<Row>(
      `SELECT t.id::text AS id, ${columns} FROM ${table} t
       WHERE t.${since} < now() - $1 * interval '1 millisecond' AND NOT t.id = ANY($2)
       ORDER BY t.${since} LIMIT $3 FOR UPDATE SKIP LOCKED`,
      [olderThanMs, skip, limit],
    );
    if (rows.length === 0) return { taken: 0, deleted: 0 };
    const ids = await dispose(client, rows);
    if (ids.length === 0) return { taken: rows.length, deleted: 0 };
    const { rowCount } = await client.query(`DELETE FROM ${table} WHERE id = ANY($1)`, [ids]);
    return { taken: rows.length, deleted: rowCount };
  });
}

interface StoredMedia {
  readonly id: string;
  readonly media_url: string | null;
  readonly thumbnail_url: string | null;
  readonly has_media: boolean;
}

function mediaRows(database: Database, table: 'stories' | 'messages', since: string, hasMedia: string): ExpiringRows<MediaRow> {
  const columns = `t.media_url, t.thumbnail_url, (t.media_url IS NOT NULL OR t.thumbnail_url IS NOT NULL OR ${hasMedia}) AS has_media`;
  return {
    takeBatch: (options, dispose) =>
      takeBatch<StoredMedia>(database, { table, since, columns }, options, async (client, stored) => {
        const urlsOf = (row: StoredMedia) => [row.media_url, row.thumbnail_url].filter((url) => url !== null);
        // On the transaction's own connection: a second one, asked for while this one is held, is a deadlock in a full pool.
        const shared = await shownElsewhere(
          client,
          table,
          [...new Set(stored.flatMap(urlsOf))],
          stored.map((row) => row.id),
        );
        return dispose(
          stored.map((row) => ({ id: row.id, urls: urlsOf(row), sharedUrls: urlsOf(row).filter((url) => shared.has(url)), hasMedia: row.has_media })),
        );
      }),
  };
}

/** Of these URLs, the ones that a row other than the batch's shows. */
async function shownElsewhere(client: Queryable, table: 'stories' | 'messages', urls: readonly string[], ids: readonly string[]): Promise<Set<string>> {
  if (urls.length === 0) return new Set();
  const except = (name: string) => (name === table ? 'AND NOT id = ANY($2)' : '');
  const { rows } = await client.query<{ url: string }>(
    (['messages', 'stories'] as const)
      .flatMap((name) => ['media_url', 'thumbnail_url'].map((column) => `SELECT ${column} AS url FROM ${name} WHERE ${column} = ANY($1) ${except(name)}`))
      .join(' UNION '),
    [urls, ids],
  );
  return new Set(rows.map((row) => row.url));
}
