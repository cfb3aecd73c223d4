import type { Database } from './database.ts';

/** Remembers what was taken back from users before it was sent. */
export interface Withdrawals {
  /**
   * Takes back what was accepted before the event `messageId`: of the messages,
   * else of the chat, else everything of the user. Messages that are named are
   * taken back for good. A chat that was read keeps its read mark. Twice is once.
   */
  add(withdrawal: {
    readonly messageId: string;
    readonly userId: string;
    readonly reason: 'read' | 'deleted' | 'logged_out';
    readonly chatId: string | undefined;
    readonly chatMessageIds: readonly string[];
    readonly readUpTo: Date | undefined;
  }): Promise<void>;
}

/** The tables `withdrawals` and `read_marks`. */
export function createWithdrawals(database: Database): Withdrawals {
  return {
    async add({ messageId, userId, reason, chatId, chatMessageIds, readUpTo }) {
      // In the event's time, not in that of its run: what was accepted while it waited, or after the reading, is newer.
      await database.query(
        `WITH accepted AS (
           SELECT coalesce((SELECT received_at FROM backhaul.jobs WHERE message_id = $1), now()) AS at
         ), marked AS (
           INSERT INTO backhaul.read_marks AS r (user_id, chat_id, up_to)
           SELECT $2, $4, coalesce($6::timestamptz, at) FROM accepted WHERE $3 = 'read' AND $4 <> '' AND $5::text[] = '{}'
           ON CONFLICT (user_id, chat_id) DO UPDATE SET up_to = excluded.up_to, updated_at = now() WHERE r.up_to < excluded.up_to
         )
         INSERT INTO backhaul.withdrawals AS w (user_id, chat_id, chat_message_id, reason, withdrawn_at)
         SELECT $2, $4, id, $3, least(at, $6) FROM accepted, (SELECT DISTINCT unnest(CASE WHEN $5::text[] = '{}' THEN '{""}'::text[] ELSE $5::text[] END) AS id ORDER BY id) AS ids
         ON CONFLICT (user_id, chat_id, chat_message_id)
         DO UPDATE SET reason = excluded.reason, withdrawn_at = excluded.withdrawn_at WHERE w.withdrawn_at < excluded.withdrawn_at`,
        [messageId, userId, reason, chatId ?? '', chatMessageIds, readUpTo ?? null],
      );
    },
  };
}
