import { hash } from 'node:crypto';
import { type Database, gather, sqlState } from '@backhaul/database';
import type { NotificationLog, NotificationRecord } from '@backhaul/jobs/notification';
import type { Logger } from '@backhaul/runtime';

/** Rows written in one statement at most. */
const MAX_GATHERED = 500;

/** Keeps the `notifications` table of the chat app. What is recorded in one turn of the event loop shares a statement. */
export function createPgNotificationLog(database: Database, log: Logger): NotificationLog {
  const write = gather<NotificationRow, void>({ max: MAX_GATHERED, keyOf: ({ id }) => id, run: (rows) => writeAll(database, rows) });
  const record = async (id: string, { messageId, channel, userId, title, body, success }: NotificationRecord): Promise<void> => {
    try {
      await write({ id, user_id: userId, type: channel, title: storableText(title), body: storableText(body), success });
    } catch (error) {
      // 22 data exception (a user id that is no uuid), 23 constraint (no such user): no later try could write this row either, and the message has been dealt with.
      if (!/^2[23]/.test(sqlState(error) ?? '')) throw error;
      log.error('the notification could not be logged: its row is refused by the database', { messageId, channel, error });
    }
  };
  return {
    record: (row) => record(rowId(row.channel, row.messageId), row),
    async recordEach(rows) {
      await Promise.all(rows.map((row) => record(rowId(row.channel, `${row.messageId}:${row.userId}`), row)));
    },
  };
}

/** A row, by the names of the table's columns. */
interface NotificationRow {
  readonly id: string;
  readonly user_id: string;
  readonly type: string;
  readonly title: string;
  readonly body: string;
  readonly success: boolean;
}

async function writeAll(database: Database, rows: readonly NotificationRow[]): Promise<undefined[]> {
  // The same message always has the same row: a re-run changes nothing, and a replay that succeeds turns a failure into a success, never back.
  await database.query(
    `INSERT INTO notifications AS n (id, user_id, type, title, body, success, created_at)
     SELECT id, user_id, type, title, body, success, now() FROM json_populate_recordset(NULL::notifications, $1::json)
     ON CONFLICT (id) DO UPDATE SET success = true WHERE excluded.success AND NOT n.success`,
    [JSON.stringify(rows)],
    'prepared',
  );
  return rows.map(() => undefined);
}

/** A uuid (version 8, RFC 9562) made of the message's id. */
function rowId(channel: string, messageId: string): string {
  const hex = hash('sha256', `notification:${channel}:${messageId}`);
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Postgres takes neither NUL nor half of a surrogate pair. */
function storableText(text: string): string {
  return text.replaceAll('\0', '').toWellFormed();
}
