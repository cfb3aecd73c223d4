import type { Queryable } from './database.ts';

/** What a column must be able to hold. The first type is the one development creates; the others are as good in production. */
const UUID = ['uuid'];
const ID = ['uuid', 'text', 'character varying', 'bigint', 'integer'];
const TEXT = ['text', 'character varying'];
const TIME = ['timestamp with time zone', 'timestamp without time zone'];
const FLAG = ['boolean'];
const NUMBER = ['integer', 'bigint'];
const JSON_TEXT = ['jsonb', 'json'];

interface ChatTable {
  readonly name: string;
  /** Column name to the types that will do, as information_schema spells them. */
  readonly columns: Readonly<Record<string, readonly string[]>>;
  readonly ddl: string;
  /** What the fleet's statements search by; without it they read the whole table. */
  readonly indexes: Readonly<Record<string, string>>;
}

/**
 * The chat app's tables, as far as the workers read and write them. In
 * production they belong to the chat app, may have more columns, and are only
 * checked. No foreign keys: the fleet must not depend on an order of deletion
 * that the chat app has not promised.
 */
const CHAT_TABLES: readonly ChatTable[] = [
  {
    name: 'messages',
    columns: {
      id: UUID,
      sender_id: ID,
      chat_id: ID,
      content: TEXT,
      media_url: TEXT,
      thumbnail_url: TEXT,
      media_metadata: JSON_TEXT,
      created_at: TIME,
      updated_at: TIME,
      deleted_at: TIME,
    },
    ddl: `CREATE TABLE IF NOT EXISTS public.messages (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      sender_id uuid NOT NULL,
      chat_id uuid NOT NULL,
      content text,
      media_url text,
      thumbnail_url text,
      media_metadata jsonb,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      deleted_at timestamptz)`,
    indexes: {
      messages_deleted_at: 'messages (deleted_at) WHERE deleted_at IS NOT NULL',
      messages_sender_id: 'messages (sender_id)',
      messages_media_url: 'messages (media_url) WHERE media_url IS NOT NULL',
      messages_thumbnail_url: 'messages (thumbnail_url) WHERE thumbnail_url IS NOT NULL',
    },
  },
  {
    name: 'stories',
    columns: { id: ID, user_id: ID, media_url: TEXT, thumbnail_url: TEXT, created_at: TIME, deleted_at: TIME },
    ddl: `CREATE TABLE IF NOT EXISTS public.stories (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      user_id uuid NOT NULL,
      media_url text,
      thumbnail_url text,
      created_at timestamptz NOT NULL DEFAULT now(),
      deleted_at timestamptz)`,
    indexes: {
      stories_created_at: 'stories (created_at)',
      stories_user_id: 'stories (user_id)',
      stories_media_url: 'stories (media_url) WHERE media_url IS NOT NULL',
      stories_thumbnail_url: 'stories (thumbnail_url) WHERE thumbnail_url IS NOT NULL',
    },
  },
  {
    name: 'user_sessions',
    columns: { id: ID, user_id: ID, device_id: ID, last_active_at: TIME, is_active: FLAG, created_at: TIME },
    ddl: `CREATE TABLE IF NOT EXISTS public.user_sessions (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      user_id uuid NOT NULL,
      device_id text,
      last_active_at timestamptz NOT NULL DEFAULT now(),
      is_active boolean NOT NULL DEFAULT true,
      created_at timestamptz NOT NULL DEFAULT now())`,
    indexes: {
      user_sessions_last_active_at: 'user_sessions (last_active_at)',
      user_sessions_user_id: 'user_sessions (user_id)',
      user_sessions_active: 'user_sessions (last_active_at) WHERE is_active',
    },
  },
  {
    name: 'user_prekeys',
    columns: { id: ID, user_id: ID, prekey_id: NUMBER, public_key: [...TEXT, 'bytea'], used_at: TIME, created_at: TIME },
    ddl: `CREATE TABLE IF NOT EXISTS public.user_prekeys (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      user_id uuid NOT NULL,
      prekey_id integer NOT NULL,
      public_key text NOT NULL,
      used_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (user_id, prekey_id))`,
    indexes: { user_prekeys_user_id_created_at: 'user_prekeys (user_id, created_at)' },
  },
  {
    name: 'notifications',
    columns: { id: ID, user_id: ID, type: TEXT, title: TEXT, body: TEXT, success: FLAG, created_at: TIME },
    ddl: `CREATE TABLE IF NOT EXISTS public.notifications (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      user_id uuid NOT NULL,
      type text NOT NULL,
      title text,
      body text,
      success boolean NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now())`,
    indexes: { notifications_user_id_created_at: 'notifications (user_id, created_at)' },
  },
  {
    name: 'temporary_files',
    columns: { id: ID, file_path: TEXT, created_at: TIME },
    ddl: `CREATE TABLE IF NOT EXISTS public.temporary_files (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      file_path text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now())`,
    indexes: { temporary_files_created_at: 'temporary_files (created_at)' },
  },
];

/**
 * Creates the chat app's tables and the indexes that the jobs need, for
 * development and tests. Safe to run again; changes nothing that is there.
 *
 * In `public` by name: for a role called `backhaul` an unqualified name would
 * mean the fleet's own schema, as "$user" comes first in the search path.
 */
export async function createChatTables(database: Queryable): Promise<void> {
  const statements = CHAT_TABLES.flatMap(({ ddl, indexes }) => [
    ddl,
    ...Object.entries(indexes).map(([name, definition]) => `CREATE INDEX IF NOT EXISTS ${name} ON public.${definition}`),
  ]);
  // One text is one transaction, which holds the lock: IF NOT EXISTS looks first and creates then, and of two that do so at once one fails.
  await database.query([`SELECT pg_advisory_xact_lock(hashtextextended('chat tables', 0))`, ...statements].join(';\n'));
}

/**
 * Compares the chat app's tables with what the workers need, where production
 * owns them. Reads the catalog only.
 *
 * @returns one line per problem: what is missing or different, and what was expected; empty when all is well
 */
export async function checkChatTables(database: Queryable): Promise<string[]> {
  // current_schemas: the tables that an unqualified name finds, in the order in which it finds them.
  const { rows } = await database.query<{ table: string; column: string; type: string }>(
    `SELECT DISTINCT ON (c.table_name, c.column_name) c.table_name AS "table", c.column_name AS "column", c.data_type AS type
     FROM information_schema.columns c JOIN unnest(current_schemas(false)) WITH ORDINALITY AS s(name, place) ON s.name = c.table_schema
     WHERE c.table_name = ANY($1)
     ORDER BY c.table_name, c.column_name, s.place`,
    [CHAT_TABLES.map((table) => table.name)],
  );
  const found = new Map<string, Map<string, string>>();
  for (const { table, column, type } of rows) found.set(table, (found.get(table) ?? new Map<string, string>()).set(column, type));

  return CHAT_TABLES.flatMap(({ name, columns }) => {
    const present = found.get(name);
    if (present === undefined) {
      return [
        `table ${name} is missing: expected ${Object.entries(columns)
          .map(([column, types]) => `${column} ${types[0]}`)
          .join(', ')} (or the role may not read it)`,
      ];
    }
    return Object.entries(columns).flatMap(([column, types]) => {
      const type = present.get(column);
      if (type === undefined) return [`column ${name}.${column} is missing: expected ${types.join(' or ')}`];
      return types.includes(type) ? [] : [`column ${name}.${column} is ${type}: expected ${types.join(' or ')}`];
    });
  });
}

/**
 * Names what the fleet's statements search by and no valid index leads with.
 * Advice, not an error: without them the statements are slow, not wrong.
 *
 * @returns one line per missing index, with the statement that makes it
 */
export async function adviseChatIndexes(database: Queryable): Promise<string[]> {
  const { rows } = await database.query<{ table: string; column: string }>(
    `SELECT t.relname AS "table", a.attname AS "column"
     FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
     WHERE i.indisvalid AND t.relname = ANY($1) AND pg_table_is_visible(t.oid)`,
    [CHAT_TABLES.map((table) => table.name)],
  );
  const leading = new Set(rows.map(({ table, column }) => `${table}.${column}`));
  return CHAT_TABLES.flatMap(({ name, indexes }) =>
    Object.entries(indexes).flatMap(([index, definition]) => {
      const column = /\((\w+)/.exec(definition)?.[1] ?? '';
      return leading.has(`${name}.${column}`) ? [] : [`no index on ${name} leads with ${column}: CREATE INDEX CONCURRENTLY ${index} ON ${definition}`];
    }),
  );
}
