import { hash } from 'node:crypto';
import { type Database, boolColumn, gather, sqlState, textColumn, together, uuidColumn } from '@backhaul/database';
import type { NotificationLog, NotificationRecord } from '@backhaul/jobs/notification';
import type { Logger } from '@backhaul/runtime';

/** Rows written in one statement at most. */
const MAX_GATHERED = 500;

/** Keeps the `notifications` table of the chat app. What is recorded in one turn of the event loop shares a statement. */
export function createPgNotificationLog(database: Database, log: Logger): NotificationLog {
  let statement: string | undefined;
  const writing = {
    keyOf: ({ id }: NotificationRow) => id,
    async run(rows: readonly NotificationRow[]) {
      statement ??= await insertion(database);
      try {
        return await writeAll(database, statement, rows);
      } catch (error) {
        // The chat app may have changed its table.
        statement = undefined;
        throw error;
      }
    },
  };
  const write = gather<NotificationRow, void>({ max: MAX_GATHERED, ...writing });
  const writeTogether = together<NotificationRow, void>(writing);
  const record = async (id: string, notification: NotificationRecord): Promise<void> => {
    try {
      await write(rowOf(id, notification));
    } catch (error) {
      const { messageId, channel } = notification;
      // No later try could write this row either, and the message has been dealt with.
      if (!isRefusal(error)) throw error;
      log.error('the notification could not be logged: its row is refused by the database', { messageId, channel, error });
    }
  };
  return {
    record: (row) => record(rowId(row.channel, row.messageId), row),
    async recordAll(rows) {
      try {
        await writeTogether(rows.map((row) => rowOf(rowId(row.channel, row.messageId), row)));
      } catch (error) {
        if (!isRefusal(error)) throw error;
        await Promise.all(rows.map((row) => record(rowId(row.channel, row.messageId), row)));
      }
    },
    async recordEach(rows) {
      await Promise.all(rows.map((row) => record(rowId(row.channel, `${row.messageId}:${row.userId}`), row)));
    },
  };
}

interface NotificationRow {
  readonly id: string;
  readonly userId: string;
  readonly type: string;
  readonly title: string;
  readonly body: string;
  readonly success: boolean;
}

/** The statement that inserts rows. The ids have the types that the chat app gave them: the table says which. */
async function insertion(database: Database): Promise<string> {
  const { rows } = await database.query<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, -1) AS type FROM pg_attribute
     WHERE attrelid = 'notifications'::regclass AND attname IN ('id', 'user_id') AND NOT attisdropped`,
  );
  const typed = (column: string) => `${column}::${rows.find(({ name }) => name === column)?.type ?? 'text'}`;
  // The same message always has the same row: a re-run changes nothing, and a replay that succeeds turns a failure into a success, never back.
  return `INSERT INTO notifications AS n (id, user_id, type, title, body, success, created_at)
    SELECT ${typed('id')}, ${typed('user_id')}, type, title, body, success, now()
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bool[]) AS rows(id, user_id, type, title, body, success)
    ON CONFLICT (id) DO UPDATE SET success = true WHERE excluded.success AND NOT n.success`;
}

async function writeAll(database: Database, statement: string, rows: readonly NotificationRow[]): Promise<undefined[]> {
  await database.query(
    statement,
    [
      uuidColumn(rows.map(({ id }) => id)),
      textColumn(rows.map(({ userId }) => userId)),
      textColumn(rows.map(({ type }) => type)),
      textColumn(rows.map(({ title }) => title)),
      textColumn(rows.map(({ body }) => body)),
      boolColumn(rows.map(({ success }) => success)),
    ],
    'prepared',
  );
  return rows.map(() => undefined);
}

function rowOf(id: string, { channel, userId, title, body, success }: NotificationRecord): NotificationRow {
  return { id, userId, type: channel, title: storableText(title), body: storableText(body), success };
}

/** 22 data exception (a user id that is no uuid), 23 constraint (no such user). */
function isRefusal(error: unknown): boolean {
  return /^2[23]/.test(sqlState(error) ?? '');
}

/** A uuid (version 8, RFC 9562) made of the message's id. */
function rowId(channel: string, messageId: string): string {
  const hex = hash('sha256', `notification:${channel}:${messageId}`);
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Postgres takes neither NUL nor half of a surrogate pair. */
function storableText(text: string): string {
  return (text.includes('\0') ? text.replaceAll('\0', '') : text).toWellFormed();
}
