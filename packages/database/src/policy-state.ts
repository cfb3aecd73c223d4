import type { Database } from './database.ts';

/** Where a state belongs: somebody's count on a channel, or what is gathered of a chat for one of their devices (`target` '' for all). */
export type PolicyStateKey =
  | { readonly table: 'notification_caps'; readonly userId: string; readonly channel: string }
  | { readonly table: 'coalesced'; readonly userId: string; readonly chatId: string; readonly target: string };

/**
 * Changes a state with `change` and returns its answer. It is given undefined
 * when there is no state yet, and the database's time: workers' clocks differ.
 * Changes of the same state take turns.
 */
export type ChangePolicyState = <State, Answer>(
  key: PolicyStateKey,
  change: (state: State | undefined, now: number) => { readonly state: State; readonly answer: Answer },
) => Promise<Answer>;

/** The tables `notification_caps` and `coalesced`. Whoever changes a state decides alone what it is, this keeps it whole. */
export function createPolicyState(database: Database): ChangePolicyState {
  return (key, change) =>
    database.transaction(async (client) => {
      const [columns, values] =
        key.table === 'coalesced'
          ? (['user_id, chat_id, target', [key.userId, key.chatId, key.target]] as const)
          : (['user_id, channel', [key.userId, key.channel]] as const);
      const where = columns
        .split(', ')
        .map((column, index) => `${column} = $${index + 1}`)
        .join(' AND ');
      const places = values.map((_, index) => `$${index + 1}`).join(', ');
      // A row to lock is needed first: of two that find none, both would insert theirs.
      const { rows } = await client.query<{ state: never; now: Date }>(
        `INSERT INTO backhaul.${key.table} AS s (${columns}, state) VALUES (${places}, 'null')
         ON CONFLICT (${columns}) DO UPDATE SET updated_at = now() RETURNING state, clock_timestamp() AS now`,
        values,
      );
      const row = rows[0];
      if (row === undefined) throw new Error(`${key.table} returned no row to change`);
      const { state, answer } = change(row.state ?? undefined, row.now.getTime());
      await client.query(`UPDATE backhaul.${key.table} SET state = $${values.length + 1} WHERE ${where}`, [...values, JSON.stringify(state)]);
      return answer;
    });
}
