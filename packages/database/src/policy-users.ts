import type { Database } from './database.ts';
import { KIND } from './policy-kinds.ts';

/** Where each kind is on record. */
const TABLES: Readonly<Record<keyof typeof KIND, string>> = {
  preference: 'notification_preferences',
  mute: 'chat_mutes',
  quietHours: 'quiet_hours',
  leftChat: 'left_chats',
  block: 'blocked_users',
  readMark: 'read_marks',
  presence: 'presence',
  withdrawal: 'withdrawals',
};

/** Of what is noted about `p`, that which is on record. Kinds that a later version knows are left as they are. */
const HELD = [
  ...Object.entries(KIND).map(
    ([kind, bit]) =>
      `CASE WHEN p.kinds & ${bit} <> 0 AND EXISTS (SELECT 1 FROM backhaul.${TABLES[kind as keyof typeof KIND]} t WHERE t.user_id = p.user_id) THEN ${bit} ELSE 0 END`,
  ),
  `CASE WHEN p.kinds > 0 THEN p.kinds & ~${Object.values(KIND).reduce<number>((all, bit) => all | bit, 0)} ELSE 0 END`,
].join(' | ');

const SOME_USER = 'SELECT user_id AS id FROM backhaul.policy_users TABLESAMPLE SYSTEM (1) ORDER BY random() LIMIT 1';

const LOOK = `SELECT p.user_id AS id, ${HELD} <> p.kinds AS outdated
  FROM (SELECT user_id, kinds FROM backhaul.policy_users WHERE user_id > $1 AND ($2::text IS NULL OR user_id <= $2) ORDER BY user_id LIMIT $3) p ORDER BY p.user_id`;

const HOLD = 'SELECT user_id AS id FROM backhaul.policy_users WHERE user_id = ANY ($1) FOR UPDATE SKIP LOCKED';

const CHANGE = `WITH found AS (SELECT p.user_id, p.kinds, ${HELD} AS held FROM backhaul.policy_users p WHERE p.user_id = ANY ($1)),
  deleted AS (DELETE FROM backhaul.policy_users p USING found f WHERE p.user_id = f.user_id AND f.held = 0 RETURNING 1),
  narrowed AS (UPDATE backhaul.policy_users p SET kinds = f.held FROM found f WHERE p.user_id = f.user_id AND f.held NOT IN (0, f.kinds))
  SELECT 1 FROM deleted`;

/**
 * Deletes the rows of those about whom nothing is on record any more, and takes
 * kinds out of the others that nothing is on record of.
 *
 * Safe against those who write meanwhile: their trigger holds the user's row
 * until they commit. Rows that are held are passed over. Those that are not
 * are locked, and looked at again by a second statement, which sees all that
 * was committed before; whoever comes later waits, and notes it anew.
 *
 * @returns how many rows were deleted
 */
export async function prunePolicyUsers(database: Database, { batchSize, signal }: { batchSize: number; signal?: AbortSignal }): Promise<number> {
  let deleted = 0;
  // From anywhere to the end, and then the rest: when the time is up every day before the end, nobody is always left out.
  const { rows: start } = await database.query<{ id: string }>(SOME_USER);
  const somewhere = start[0]?.id ?? '';
  for (const [from, to] of [
    [somewhere, null],
    ['', somewhere],
  ] as const) {
    let after = from;
    while (!signal?.aborted) {
      const { rows } = await database.query<{ id: string; outdated: boolean }>(LOOK, [after, to, batchSize]);
      const outdated = rows.flatMap((row) => (row.outdated ? [row.id] : []));
      if (outdated.length > 0) deleted += await change(database, outdated);
      if (rows.length < batchSize) break;
      after = rows.at(-1)?.id ?? after;
    }
  }
  return deleted;
}

async function change(database: Database, userIds: readonly string[]): Promise<number> {
  return database.transaction(async (client) => {
    // Whatever the database's default: a snapshot from before the lock would not see what its last holder wrote.
    await client.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    const { rows: held } = await client.query<{ id: string }>(HOLD, [userIds]);
    const { rowCount } = await client.query(CHANGE, [held.map(({ id }) => id)]);
    return rowCount;
  });
}
