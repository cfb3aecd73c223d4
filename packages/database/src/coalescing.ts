import type { Database } from './database.ts';

/** Whose messages of which chat are gathered; `target` is a digest of the one device, or '' for all of the user's. */
export interface CoalescingKey {
  readonly userId: string;
  readonly chatId: string;
  readonly target: string;
}

/** How a message was announced: by itself or by the summary that it carries (`summaryId` is its own id), or in another's. */
export interface Announced {
  readonly summaryId: string;
  readonly count: number;
}

/** Keeps what is gathered of chats, and how each message was announced. */
export interface Coalescing {
  /** How the message was announced, if it was. */
  find(key: CoalescingKey, messageId: string): Promise<Announced | undefined>;
  /**
   * Changes what is gathered, unless the message has been announced: then it
   * returns how. `change` is given undefined when nothing was ever gathered,
   * and the database's time. The ids in `announced` are announced by
   * `messageId`, itself among them. Changes of the same chat take turns.
   */
  change<State, Answer>(
    key: CoalescingKey,
    messageId: string,
    change: (state: State | undefined, now: number) => { readonly state: State; readonly answer: Answer; readonly announced?: readonly string[] },
  ): Promise<{ readonly known: Announced } | { readonly answer: Answer }>;
}

/** The tables `coalesced` and `coalesced_messages`. */
export function createCoalescing(database: Database): Coalescing {
  const announced = `SELECT summary_id AS "summaryId", count FROM backhaul.coalesced_messages WHERE message_id = $1 AND user_id = $2 AND target = $3`;
  return {
    async find({ userId, target }, messageId) {
      return (await database.query<Announced>(announced, [messageId, userId, target])).rows[0];
    },
    change: ({ userId, chatId, target }, messageId, change) =>
      database.transaction(async (client) => {
        const key = [userId, chatId, target];
        // A row to lock is needed first: of two that find none, both would insert theirs.
        const { rows } = await client.query<{ state: never; now: Date }>(
          `INSERT INTO backhaul.coalesced (user_id, chat_id, target, state) VALUES ($1, $2, $3, 'null')
           ON CONFLICT (user_id, chat_id, target) DO UPDATE SET updated_at = now() RETURNING state, clock_timestamp() AS now`,
          key,
        );
        const row = rows[0];
        if (row === undefined) throw new Error('coalesced returned no row to change');
        // A statement of its own: one that had waited for the lock would not see what its holder wrote.
        const known = (await client.query<Announced>(announced, [messageId, userId, target])).rows[0];
        if (known !== undefined) return { known };
        const changed = change(row.state ?? undefined, row.now.getTime());
        await client.query('UPDATE backhaul.coalesced SET state = $4 WHERE user_id = $1 AND chat_id = $2 AND target = $3', [
          ...key,
          JSON.stringify(changed.state),
        ]);
        if (changed.announced !== undefined) {
          await client.query(
            `INSERT INTO backhaul.coalesced_messages (message_id, user_id, target, summary_id, count)
             SELECT id, $2, $3, $4, cardinality($1::text[]) FROM unnest($1::text[]) AS id`,
            [changed.announced, userId, target, messageId],
          );
        }
        return { answer: changed.answer };
      }),
  };
}
