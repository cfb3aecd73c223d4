import { createHash } from 'node:crypto';
import { type Database, sqlState } from '@backhaul/database';
import type { NotificationLog } from '@backhaul/jobs/notification';
import type { Logger } from '@backhaul/runtime';

/** Keeps the `notifications` table of the chat app. */
export function createPgNotificationLog(database: Database, log: Logger): NotificationLog {
  return {
    async record({ messageId, channel, userId, title, body, success }) {
      try {
        // The same message always has the same row: a re-run changes nothing, and a replay that succeeds turns a failure into a success, never back.
        await database.query(
          `INSERT INTO notifications AS n (id, user_id, type, title, body, success, created_at)
           VALUES ($1, $2, $3, $4, $5, $6, now())
           ON CONFLICT (id) DO UPDATE SET success = true WHERE excluded.success AND NOT n.success`,
          [rowId(channel, messageId), userId, channel, withoutNul(title), withoutNul(body), success],
        );
      } catch (error) {
        // 22 data exception (a user id that is no uuid), 23 constraint (no such user): no later try could write this row either, and the message has been dealt with.
        if (!/^2[23]/.test(sqlState(error) ?? '')) throw error;
        log.error('the notification could not be logged: its row is refused by the database', { messageId, channel, error });
      }
    },
  };
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
