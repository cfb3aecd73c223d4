import { createHash } from 'node:crypto';
import { type Database, sqlState } from '@backhaul/database';
import type { NotificationLog, NotificationRecord } from '@backhaul/jobs/notification';
import type { Logger } from '@backhaul/runtime';

/** Keeps the `notifications` table of the chat app. */
export function createPgNotificationLog(database: Database, log: Logger): NotificationLog {
  const write = async (records: readonly (NotificationRecord & { readonly id: string })[]): Promise<void> => {
    const places = records.map((_, index) => `($${3 * index + 4}, $${3 * index + 5}, $1, $2, $3, $${3 * index + 6}, now())`);
    const [first] = records;
    if (first === undefined) return;
    // The same message always has the same row: a re-run changes nothing, and a replay that succeeds turns a failure into a success, never back.
    await database.query(
      `INSERT INTO notifications AS n (id, user_id, type, title, body, success, created_at)
       VALUES ${places.join(', ')}
       ON CONFLICT (id) DO UPDATE SET success = true WHERE excluded.success AND NOT n.success`,
      [first.channel, withoutNul(first.title), withoutNul(first.body), ...records.flatMap(({ id, userId, success }) => [id, userId, success])],
    );
  };
  const writeOne = async (record: NotificationRecord & { readonly id: string }): Promise<void> => {
    try {
      await write([record]);
    } catch (error) {
      if (!isRefused(error)) throw error;
      const { messageId, channel } = record;
      log.error('the notification could not be logged: its row is refused by the database', { messageId, channel, error });
    }
  };
  return {
    record: (record) => writeOne({ ...record, id: rowId(record.channel, record.messageId) }),
    async recordEach(records) {
      // In the order of the ids: two runs that write the same rows must not wait for each other.
      const rows = records
        .map((record) => ({ ...record, id: rowId(record.channel, `${record.messageId}:${record.userId}`) }))
        .toSorted((left, right) => (left.id < right.id ? -1 : 1));
      for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
        const some = rows.slice(from, from + ROWS_AT_ONCE);
        try {
          await write(some);
        } catch (error) {
          if (!isRefused(error)) throw error;
          // One of them is refused, which one is not said.
          for (const row of some) await writeOne(row);
        }
      }
    },
  };
}

/** Three values each, and a statement takes 65,535. */
const ROWS_AT_ONCE = 1_000;

/** 22 data exception (a user id that is no uuid), 23 constraint (no such user): no later try could write this row either, and the message has been dealt with. */
function isRefused(error: unknown): boolean {
  return /^2[23]/.test(sqlState(error) ?? '');
}

/** A uuid (version 8, RFC 9562) made of the message's id. */
function rowId(channel: string, messageId: string): string {
  const hex = createHash('sha256').update(`notification:${channel}:${messageId}`).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Postgres text cannot hold it. */
function withoutNul(text: string): string {
  return text.replaceAll('\0', '');
}
