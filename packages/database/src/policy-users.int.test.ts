import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database, Queryable } from './database.ts';
import { ANY_KIND, KIND, policyKinds } from './policy-kinds.ts';
import { prunePolicyUsers } from './policy-users.ts';
import { createUserPolicy } from './policy.ts';

let world: TestDatabase;
let pruner: Database;
beforeAll(async () => {
  world = await testDatabase();
  pruner = world.open({ poolSize: 2 });
});
afterAll(() => world.close());

const kindsOf = async (userId: string) => (await policyKinds(world.database, new Set([userId]))).get(userId);
const everything = Object.values(KIND).reduce<number>((all, bit) => all | bit, 0);

/** A row about a user in the table of each kind. */
const rowsOf: Record<keyof typeof KIND, string> = {
  preference: `notification_preferences VALUES ($1, 'push', 'all', false)`,
  mute: `chat_mutes VALUES ($1, 'family')`,
  quietHours: `quiet_hours VALUES ($1, 0, 0, 60, '{1}', 'UTC')`,
  leftChat: `left_chats VALUES ($1, 'family')`,
  block: `blocked_users VALUES ($1, 'eve')`,
  readMark: `read_marks VALUES ($1, 'family', now())`,
  presence: `presence VALUES ($1, 'phone', now())`,
  withdrawal: `withdrawals VALUES ($1, '', '', 'read', now())`,
};
const kinds = Object.keys(KIND) as (keyof typeof KIND)[];
const write = (client: Queryable, kind: keyof typeof KIND, userId: string) => client.query(`INSERT INTO backhaul.${rowsOf[kind]}`, [userId]);
const tableOf = (kind: keyof typeof KIND) => rowsOf[kind].split(' ')[0] ?? '';
const erase = (client: Queryable, kind: keyof typeof KIND, userId: string) =>
  client.query(`DELETE FROM backhaul.${tableOf(kind)} WHERE user_id = $1`, [userId]);
/** What is on record about a user, by the tables themselves. */
async function onRecord(userId: string): Promise<number> {
  let found = 0;
  for (const kind of kinds) {
    const { rowCount } = await world.database.query(`SELECT 1 FROM backhaul.${tableOf(kind)} WHERE user_id = $1`, [userId]);
    if (rowCount > 0) found |= KIND[kind];
  }
  return found;
}

test('Who has nothing on record any more loses their row, the others keep what still holds, whatever the size of a batch', async () => {
  const users = Array.from({ length: 25 }, () => randomUUID());
  for (const userId of users) for (const kind of kinds) await write(world.database, kind, userId);
  const [kept, chosen, early, later] = users;
  for (const [index, userId] of users.entries()) {
    if (index !== 0) for (const kind of kinds) if (index !== 1 || kind !== 'preference') await erase(world.database, kind, userId);
  }
  // Noted before kinds were, and by a version that knows more of them.
  await world.database.query('UPDATE backhaul.policy_users SET kinds = -1 WHERE user_id = $1', [early ?? '']);
  await world.database.query('UPDATE backhaul.policy_users SET kinds = 1024 + kinds WHERE user_id = $1', [later ?? '']);
  await createUserPolicy(world.database).block(early ?? '', 'eve');
  expect(await kindsOf(early ?? '')).toBe(ANY_KIND);
  expect(await prunePolicyUsers(pruner, { batchSize: 4 })).toBe(21);
  expect(await policyKinds(world.database, new Set(users))).toEqual(
    new Map([
      [kept, everything],
      [chosen, KIND.preference],
      [early, KIND.block],
      [later, 1_024],
    ]),
  );
  expect(await prunePolicyUsers(pruner, { batchSize: 4 })).toBe(0);
});

test('Of many users every one is looked at, wherever it begins', async () => {
  await world.database.query(`INSERT INTO backhaul.policy_users SELECT 'many-' || n, 1 FROM generate_series(1, 50000) n`);
  expect(await prunePolicyUsers(pruner, { batchSize: 1_000 })).toBe(50_000);
  await world.database.query(`INSERT INTO backhaul.policy_users SELECT 'many-' || n, 1 FROM generate_series(1, 5000) n`);
  const stopped = AbortSignal.abort();
  expect(await prunePolicyUsers(pruner, { batchSize: 1_000, signal: stopped })).toBe(0);
  expect(await prunePolicyUsers(pruner, { batchSize: 5_000 })).toBe(5_000);
});

/** Something that makes a step only when it is told to. */
class Steps {
  #waiting: (() => void)[] = [];
  #allowed = 0;
  #ended = false;

  /** Resolves when the step may be made. */
  turn(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    if (this.#allowed > 0) {
      this.#allowed -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  next(): void {
    const first = this.#waiting.shift();
    if (first === undefined) this.#allowed += 1;
    else first();
  }

  end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A database whose statements, and commits, wait for their turn. */
function inSteps(database: Database, steps: Steps): Database {
  const stepwise = (client: Queryable): Queryable => ({
    async query(sql, values) {
      await steps.turn();
      return client.query(sql, values);
    },
  });
  return {
    ...database,
    ...stepwise(database),
    transaction: (work) =>
      database.transaction(async (client) => {
        const result = await work(stepwise(client));
        await steps.turn();
        return result;
      }),
  };
}

/** Every order of `left` steps of the one and `right` of the other. */
function orders(left: number, right: number): string[] {
  if (left === 0 || right === 0) return ['w'.repeat(left) + 'p'.repeat(right)];
  return [...orders(left - 1, right).map((rest) => `w${rest}`), ...orders(left, right - 1).map((rest) => `p${rest}`)];
}

// A writer's steps: its snapshot, its row, its commit. The pruner's: where to begin, look, isolation, lock, change, commit; twice the end.
test.each([
  ['READ COMMITTED', true],
  ['REPEATABLE READ', true],
  ['READ COMMITTED', false],
] as const)('In every order of a %s writer and the pruning nothing that is on record is without its note (commits: %s)', async (isolation, commits) => {
  const all = orders(3, 6);
  const writers = world.open({ poolSize: 1 });
  let written = 0;
  for (const [index, order] of all.entries()) {
    await world.database.query('TRUNCATE backhaul.policy_users, backhaul.read_marks, backhaul.presence');
    const userId = randomUUID();
    // Noted, with nothing on record; or with something else on record.
    await write(world.database, 'readMark', userId);
    await erase(world.database, 'readMark', userId);
    if (index % 2 === 1) await write(world.database, 'presence', userId);
    const [forWriter, forPruner] = [new Steps(), new Steps()];
    const writing = writers
      .transaction(async (client) => {
        await forWriter.turn();
        await client.query(`SET TRANSACTION ISOLATION LEVEL ${isolation}`);
        await client.query('SELECT count(*) FROM backhaul.policy_users');
        await forWriter.turn();
        await write(client, 'readMark', userId);
        await forWriter.turn();
        if (!commits) throw new Error('rolled back');
      })
      .then(
        () => true,
        (error: unknown) => {
          // An older snapshot may be refused; it is never believed.
          expect(String(error)).toMatch(isolation === 'REPEATABLE READ' ? /could not serialize/ : /rolled back/);
          return false;
        },
      );
    const pruning = prunePolicyUsers(inSteps(pruner, forPruner), { batchSize: 10 });
    for (const step of order) {
      (step === 'w' ? forWriter : forPruner).next();
      // It is made, or it waits for the other: longer than a statement takes here.
      await pause(4);
    }
    forWriter.end();
    forPruner.end();
    const [wrote] = await Promise.all([writing, pruning]);
    if (wrote) written += 1;
    const [held, noted] = [await onRecord(userId), (await kindsOf(userId)) ?? 0];
    expect({ order, held, missed: held & ~noted }).toEqual({ order, held: (wrote ? KIND.readMark : 0) | (index % 2 === 1 ? KIND.presence : 0), missed: 0 });
    // And what was passed over is found by the next.
    await prunePolicyUsers(pruner, { batchSize: 10 });
    expect((await kindsOf(userId)) ?? 0).toBe(held);
  }
  if (isolation === 'READ COMMITTED') expect(written).toBe(commits ? all.length : 0);
  else expect(written).toBeGreaterThan(0);
});

test('Whatever is written, erased and rolled back while it is pruned all the time, each kind that is on record is noted', async () => {
  const users = ['ann', 'bob', 'cem'];
  const change = fc.record({
    userId: fc.constantFrom(...users),
    kind: fc.constantFrom(...kinds),
    does: fc.constantFrom('write' as const, 'erase' as const),
    holdsMs: fc.integer({ min: 0, max: 4 }),
    commits: fc.boolean(),
  });
  const writers = world.open({ poolSize: 6 });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(change, { minLength: 1, maxLength: 12 }), { minLength: 2, maxLength: 6 }), async (lists) => {
      let busy = true;
      const pruning = Promise.all(
        [1, 2].map(async (batchSize) => {
          while (busy) await prunePolicyUsers(pruner, { batchSize });
        }),
      );
      await Promise.all(
        lists.map(async (changes) => {
          for (const { userId, kind, does, holdsMs, commits } of changes) {
            await writers
              .transaction(async (client) => {
                if (does === 'erase') await erase(client, kind, userId);
                else await client.query(`INSERT INTO backhaul.${rowsOf[kind]} ON CONFLICT DO NOTHING`, [userId]);
                await pause(holdsMs);
                if (!commits) throw new Error('rolled back');
              })
              .catch((error: unknown) => expect(String(error)).toContain('rolled back'));
          }
        }),
      );
      for (const userId of users) expect({ userId, missed: (await onRecord(userId)) & ~((await kindsOf(userId)) ?? 0) }).toEqual({ userId, missed: 0 });
      busy = false;
      await pruning;
      await prunePolicyUsers(pruner, { batchSize: 10 });
      for (const userId of users) expect((await kindsOf(userId)) ?? 0).toBe(await onRecord(userId));
    }),
    { numRuns: 40 },
  );
}, 120_000);
