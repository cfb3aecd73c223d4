import { randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createChatTables } from './chat-schema.ts';
import { createJobs } from './jobs.ts';
import { type PolicyRequest, createPolicyFacts } from './policy-facts.ts';
import { ANY_KIND, KIND, policyKinds } from './policy-kinds.ts';
import { type ChangePolicyState, createPolicyState } from './policy-state.ts';
import { type UserPolicy, createUserPolicy } from './policy.ts';
import { newJob } from './test-jobs.ts';
import { createWithdrawals } from './withdrawals.ts';

let world: TestDatabase;
let policy: UserPolicy;
let change: ChangePolicyState;
let facts: ReturnType<typeof createPolicyFacts>;
beforeAll(async () => {
  world = await testDatabase();
  await createChatTables(world.database);
  policy = createUserPolicy(world.database);
  change = createPolicyState(world.database);
  facts = createPolicyFacts(world.database);
});
afterAll(() => world.close());

const request = (over: Partial<PolicyRequest> = {}): PolicyRequest => ({ messageId: randomUUID(), userId: randomUUID(), channel: 'push', ...over });
async function factsOf(over: Partial<PolicyRequest>) {
  const [only] = await facts([request(over)]);
  return only;
}
const nothing = {
  receivedAt: null,
  withdrawn: false,
  enabled: null,
  senderBlocked: false,
  leftChat: false,
  messageDeleted: false,
  readUpTo: null,
  muted: false,
  mutedUntil: null,
  mutedExceptMentions: null,
  active: false,
  quietWindows: [],
};

test('Of a user without settings nothing is known, and every question has its own answer in its place', async () => {
  const userId = randomUUID();
  await policy.setPreference(userId, { channel: 'push', category: 'all', enabled: false });
  const requests = Array.from({ length: 50 }, (_, n) => request(n % 2 === 0 ? {} : { userId }));
  const answers = await facts(requests);
  expect(answers.map(({ enabled }) => enabled)).toEqual(requests.map((_, n) => (n % 2 === 0 ? null : false)));
  expect(answers[0]).toEqual(nothing);
  expect(await facts([])).toEqual([]);
});

test('A choice for the category counts more than the one for all, and each channel has its own', async () => {
  const userId = randomUUID();
  await policy.setPreference(userId, { channel: 'push', category: 'all', enabled: false });
  await policy.setPreference(userId, { channel: 'push', category: 'security', enabled: false });
  await policy.setPreference(userId, { channel: 'push', category: 'security', enabled: true });
  const enabled = async (channel: string, category?: string) => (await factsOf({ userId, channel, category }))?.enabled;
  expect([await enabled('push', 'security'), await enabled('push', 'message'), await enabled('push'), await enabled('email', 'security')]).toEqual([
    true,
    false,
    false,
    null,
  ]);
  expect(await policy.removePreference(userId, 'push', 'security')).toBe(true);
  expect(await policy.removePreference(userId, 'push', 'security')).toBe(false);
  expect(await policy.preferences(userId)).toEqual([{ channel: 'push', category: 'all', enabled: false }]);
});

test('Mutes, quiet hours, left chats, blocks, read marks and presence are the facts of their user and chat only', async () => {
  const [userId, chatId, senderId] = [randomUUID(), 'family', 'eve'];
  const until = new Date(Date.now() + 60_000);
  await policy.mute(userId, { chatId, until, exceptMentions: true });
  const windows = [{ startMinute: 1_320, endMinute: 420, days: [1, 7] }];
  await policy.setQuietHours(userId, { timeZone: 'Europe/Berlin', windows });
  await policy.leaveChat(userId, chatId);
  await policy.block(userId, senderId);
  await policy.markRead(userId, chatId, until);
  await policy.markRead(userId, chatId, new Date(0));
  await policy.setActive(userId, 'laptop', until);
  expect(await factsOf({ userId, chatId, senderId })).toEqual({
    ...nothing,
    senderBlocked: true,
    leftChat: true,
    readUpTo: until,
    muted: true,
    mutedUntil: until,
    mutedExceptMentions: true,
    active: true,
    quietWindows: windows.map((window) => ({ ...window, timeZone: 'Europe/Berlin' })),
  });
  expect(await factsOf({ userId, chatId: 'work', senderId: 'ann' })).toMatchObject({ senderBlocked: false, leftChat: false, readUpTo: null, muted: false });
  expect(await factsOf({ chatId, senderId })).toEqual(nothing);
  expect([await policy.unmute(userId, chatId), await policy.joinChat(userId, chatId), await policy.unblock(userId, senderId)]).toEqual([true, true, true]);
  expect([await policy.removeQuietHours(userId), await policy.setInactive(userId, 'laptop')]).toEqual([true, true]);
  expect(await factsOf({ userId, chatId, senderId })).toEqual({ ...nothing, readUpTo: until });
});

test('A presence ends by itself, and quiet hours are replaced as a whole, by two requests at once as well', async () => {
  const userId = randomUUID();
  await policy.setActive(userId, 'phone', new Date(Date.now() - 1));
  expect((await factsOf({ userId }))?.active).toBe(false);
  const hours = (startMinute: number) => ({ timeZone: 'UTC', windows: [1, 2].map((day) => ({ startMinute, endMinute: 0, days: [day] })) });
  await Promise.all([60, 120, 180].map((start) => policy.setQuietHours(userId, hours(start))));
  const kept = await policy.quietHours(userId);
  expect(kept?.windows).toHaveLength(2);
  expect(new Set(kept?.windows.map(({ startMinute }) => startMinute)).size).toBe(1);
});

test("The chat app's messages tell what was deleted and who wrote it; an id that is no uuid is not found, not refused", async () => {
  const userId = randomUUID();
  const senderId = randomUUID();
  const { rows } = await world.database.query<{ id: string }>(
    `INSERT INTO messages (sender_id, chat_id, deleted_at) SELECT $1, gen_random_uuid(), deleted FROM (VALUES (now()), (NULL)) AS v(deleted) RETURNING id`,
    [senderId],
  );
  await policy.block(userId, senderId);
  const [deleted, kept] = rows.map(({ id }) => id);
  expect(await factsOf({ userId, chatMessageId: deleted })).toMatchObject({ messageDeleted: true, senderBlocked: true });
  expect(await factsOf({ userId, chatMessageId: kept })).toMatchObject({ messageDeleted: false, senderBlocked: true });
  expect(await factsOf({ userId, chatMessageId: kept, senderId: 'somebody else' })).toMatchObject({ senderBlocked: false });
  expect(await factsOf({ userId, chatMessageId: 'no-uuid' })).toEqual(nothing);
});

test('A session of the chat app that was active a moment ago counts as presence, where that is asked for', async () => {
  const [here, away, closed] = [randomUUID(), randomUUID(), randomUUID()];
  await world.database.query(
    `INSERT INTO user_sessions (user_id, last_active_at, is_active)
     VALUES ($1, now(), true), ($2, now() - interval '2 minutes', true), ($3, now(), false)`,
    [here, away, closed],
  );
  const active = async (asking: ReturnType<typeof createPolicyFacts>, userId: string) => (await asking([request({ userId, category: 'message' })]))[0]?.active;
  const withSessions = createPolicyFacts(world.database, { activeSessionMs: 60_000 });
  expect([await active(withSessions, here), await active(withSessions, away), await active(withSessions, closed)]).toEqual([true, false, false]);
  expect([await active(withSessions, 'no-uuid'), await active(facts, here)]).toEqual([false, false]);
  for (const type of ['text', 'bigint']) {
    const other = await testDatabase();
    try {
      await other.database.query(`CREATE TABLE user_sessions (user_id ${type}, last_active_at timestamptz, is_active boolean)`);
      await other.database.query(`INSERT INTO user_sessions VALUES ('42', now(), true)`);
      const asking = createPolicyFacts(other.database, { activeSessionMs: 60_000 });
      expect([await active(asking, '42'), await active(asking, '43'), await active(asking, randomUUID())]).toEqual([true, false, false]);
    } finally {
      await other.close();
    }
  }
});

test("Without the chat app's tables everything else is still known", async () => {
  const bare = await testDatabase();
  try {
    expect(await createPolicyFacts(bare.database, { activeSessionMs: 1_000 })([request({ chatMessageId: randomUUID(), category: 'message' })])).toEqual([
      nothing,
    ]);
  } finally {
    await bare.close();
  }
});

test('When a message was accepted is told', async () => {
  const job = newJob({ queue: 'notification' });
  await createJobs(world.database).record([job]);
  expect((await factsOf({ messageId: job.messageId }))?.receivedAt).toBeInstanceOf(Date);
});

test('Who has nothing on record is told so from the time of the message alone, and whoever gets anything is asked about in full from then on', async () => {
  const receivedAt = new Date(1_700_000_000_000);
  const [ann, bob] = [randomUUID(), randomUUID()];
  expect(await facts([request({ userId: ann, receivedAt }), request({ userId: bob, receivedAt })])).toEqual([
    { ...nothing, receivedAt },
    { ...nothing, receivedAt },
  ]);
  await policy.mute(ann, { chatId: 'family', until: null, exceptMentions: false });
  const [muted, still] = await facts([request({ userId: ann, chatId: 'family', receivedAt }), request({ userId: bob, chatId: 'family', receivedAt })]);
  expect([muted?.muted, still]).toEqual([true, { ...nothing, receivedAt }]);
  // Written by hand, for many at once.
  const others = Array.from({ length: 3 }, () => randomUUID());
  await world.database.query(`INSERT INTO backhaul.blocked_users (user_id, blocked_user_id) SELECT id, 'eve' FROM unnest($1::text[]) AS id`, [others]);
  const blocked = await facts(others.map((userId) => request({ userId, senderId: 'eve', receivedAt })));
  expect(blocked.map(({ senderBlocked }) => senderBlocked)).toEqual([true, true, true]);
});

test('What is on record about somebody is noted by its kind, however much is written at once', async () => {
  const kindsOf = async (userId: string) => (await policyKinds(world.database, new Set([userId]))).get(userId);
  const [reader, early, busy] = [randomUUID(), randomUUID(), randomUUID()];
  expect(await kindsOf(reader)).toBeUndefined();
  await policy.markRead(reader, 'family', new Date());
  expect(await kindsOf(reader)).toBe(KIND.readMark);
  await policy.setActive(reader, 'phone', new Date());
  await policy.setInactive(reader, 'phone');
  expect(await kindsOf(reader)).toBe(KIND.readMark | KIND.presence);
  // Noted before kinds were.
  await world.database.query('INSERT INTO backhaul.policy_users (user_id) VALUES ($1)', [early]);
  await policy.block(early, 'eve');
  expect(await kindsOf(early)).toBe(ANY_KIND);
  await Promise.all([
    policy.setPreference(busy, { channel: 'push', category: 'all', enabled: true }),
    policy.mute(busy, { chatId: 'family', until: null, exceptMentions: false }),
    policy.setQuietHours(busy, { timeZone: 'UTC', windows: [{ startMinute: 0, endMinute: 60, days: [1] }] }),
    policy.leaveChat(busy, 'family'),
    policy.block(busy, 'eve'),
    policy.markRead(busy, 'family', new Date()),
    policy.setActive(busy, 'phone', new Date()),
    createWithdrawals(world.database).add({ messageId: randomUUID(), userId: busy, reason: 'read', chatId: 'family', chatMessageIds: [], readUpTo: undefined }),
  ]);
  expect(await kindsOf(busy)).toBe(Object.values(KIND).reduce<number>((all, kind) => all | kind, 0));
});

test('Sessions are asked about for those notifications only that have a category, whoever is asked about beside them', async () => {
  const sessions = createPolicyFacts(world.database, { activeSessionMs: 60_000 });
  const [userId, other] = [randomUUID(), randomUUID()];
  await world.database.query('INSERT INTO user_sessions (user_id, last_active_at, is_active) VALUES ($1, now(), true)', [userId]);
  for (const receivedAt of [undefined, new Date()]) {
    const asked = [
      request({ userId, receivedAt }),
      request({ userId, receivedAt, category: 'message' }),
      request({ userId: other, receivedAt, category: 'message' }),
    ];
    expect((await sessions(asked)).map(({ active }) => active)).toEqual([false, true, false]);
  }
});

test('Both roads to the facts, the short one for those without any and the full one, come to the same answers', async () => {
  const withdrawals = createWithdrawals(world.database);
  const sessions = createPolicyFacts(world.database, { activeSessionMs: 60_000 });
  const { rows: messages } = await world.database.query<{ id: string }>(
    `INSERT INTO messages (sender_id, chat_id, deleted_at) SELECT gen_random_uuid(), gen_random_uuid(), deleted FROM (VALUES (now()), (NULL)) AS v(deleted) RETURNING id`,
  );
  const chatId = fc.constantFrom('family', 'work');
  const chatMessageId = fc.constantFrom('no-uuid', ...messages.map(({ id }) => id));
  const senderId = fc.constantFrom('ann', 'eve');
  const until = new Date(Date.now() + 3_600_000);
  const write = fc.oneof(
    fc
      .record({ channel: fc.constantFrom('push', 'email'), category: fc.constantFrom('all', 'message'), enabled: fc.boolean() })
      .map((preference) => (userId: string) => policy.setPreference(userId, preference)),
    chatId.map((chat) => (userId: string) => policy.mute(userId, { chatId: chat, until, exceptMentions: true })),
    chatId.map((chat) => (userId: string) => policy.leaveChat(userId, chat)),
    chatId.map((chat) => (userId: string) => policy.markRead(userId, chat, until)),
    senderId.map((sender) => (userId: string) => policy.block(userId, sender)),
    fc.constant((userId: string) => policy.setActive(userId, 'phone', until)),
    fc.constant((userId: string) =>
      policy.setQuietHours(userId, { timeZone: 'UTC', windows: [{ startMinute: 0, endMinute: 60, days: [1] }] }).then(() => undefined),
    ),
    fc.constant((userId: string) =>
      world.database.query('INSERT INTO user_sessions (user_id, last_active_at, is_active) VALUES ($1, now(), true)', [userId]).then(() => undefined),
    ),
    fc
      .record({
        chat: fc.option(chatId),
        ids: fc.array(chatMessageId, { maxLength: 2 }),
        reason: fc.constantFrom('read' as const, 'deleted' as const, 'logged_out' as const),
      })
      .map(
        ({ chat, ids, reason }) =>
          (userId: string) =>
            withdrawals.add({ messageId: randomUUID(), userId, reason, chatId: chat ?? undefined, chatMessageIds: ids, readUpTo: undefined }),
      ),
  );
  const optional = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
  const question = fc.record({
    channel: fc.constantFrom('push', 'email', 'sms'),
    category: optional(fc.constantFrom('message', 'call')),
    chatId: optional(chatId),
    chatMessageId: optional(chatMessageId),
    senderId: optional(senderId),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ question, writes: fc.array(write, { maxLength: 2 }) }), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (users, after) => {
        const jobs = users.map(() => newJob({ queue: 'notification' }));
        const ids = users.map(() => randomUUID());
        const change = async () => {
          for (const [n, { writes }] of users.entries()) for (const change of writes) await change(ids[n] ?? '');
        };
        if (!after) await change();
        await createJobs(world.database).record(jobs);
        if (after) await change();
        const asked = users.map((user, n) => ({ ...user.question, messageId: jobs[n]?.messageId ?? '', userId: ids[n] ?? '' }));
        for (const ask of [facts, sessions]) {
          const full = await ask(asked);
          const short = await ask(asked.map((each, n) => ({ ...each, receivedAt: full[n]?.receivedAt ?? undefined })));
          expect(short).toEqual(full);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('Fifty who change one state at the same moment take turns, by one clock', async () => {
  const key = { userId: randomUUID(), channel: 'push' };
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => change<number[], number>(key, (times = [], now) => ({ state: [...times, now], answer: times.length }))),
  );
  expect(answers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n));
  const times = await change<number[], number[]>(key, (all = []) => ({ state: all, answer: all }));
  expect(times).toEqual(times.toSorted((a, b) => a - b));
});

test('A change that fails changes nothing', async () => {
  const key = { userId: randomUUID(), channel: 'push' };
  await change<string, void>(key, () => ({ state: 'first', answer: undefined }));
  await expect(
    change(key, () => {
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  expect(await change<string, string | undefined>(key, (state) => ({ state: state ?? '', answer: state }))).toBe('first');
});
