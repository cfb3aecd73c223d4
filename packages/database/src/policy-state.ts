import type { Database } from './database.ts';

/** Whose count it is. */
export interface PolicyStateKey {
  readonly userId: string;
  readonly channel: string;
}

/**
 * Changes a state with `change` and returns its answer. It is given undefined
 * when there is no state yet, and the database's time: workers' clocks differ.
 * Changes of the same state take turns.
 */
export type ChangePolicyState = <State, Answer>(
  key: PolicyStateKey,
  change: (state: State | undefined, now: number) => { readonly state: State; readonly answer: Answer },
) => Promise<Answer>;

/** The table `notification_caps`. Whoever changes a state decides alone what it is, this keeps it whole. */
export function createPolicyState(database: Database): ChangePolicyState {
  return ({ userId, channel }, change) =>
    database.transaction(async (client) => {
      // A row to lock is needed first: of two that find none, both would insert theirs.
      const { rows } = await client.query<{ state: never; now: Date }>(
        `INSERT INTO backhaul.notification_caps AS s (user_id, channel, state) VALUES ($1, $2, 'null')
         ON CONFLICT (user_id, channel) DO UPDATE SET updated_at = now() RETURNING state, clock_timestamp() AS now`,
        [userId, channel],
      );
      const row = rows[0];
      if (row === undefined) throw new Error('notification_caps returned no row to change');
      const { state, answer } = change(row.state ?? undefined, row.now.getTime());
      await client.query('UPDATE backhaul.notification_caps SET state = $3 WHERE user_id = $1 AND channel = $2', [userId, channel, JSON.stringify(state)]);
      return answer;
    });
}
