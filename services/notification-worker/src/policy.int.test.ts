import { randomUUID } from 'node:crypto';
import { type Database, type UserPolicy, createDeviceTokens, createJobs, createUserPolicy } from '@backhaul/database';
import { type NotificationPorts, notificationHandlers } from '@backhaul/jobs/notification';
import { createMetrics, silentLogger } from '@backhaul/runtime';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

let servers: TestChannels;
let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let database: Database;
let policy: UserPolicy;
const metrics = createMetrics('test');
let ports: NotificationPorts;

beforeAll(async () => {
  servers = await startTestChannels();
  testDatabase = await createTestDatabase();
  database = testDatabase.database;
  policy = createUserPolicy(database);
  ports = createPorts({
    channels: await servers.channels(),
    database,
    log: silentLogger,
    metrics,
    policy: { perHour: { push: 3 }, mailWaitMs: 60_000 },
  });
});
afterAll(async () => {
  await servers.close();
  await testDatabase.close();
});
beforeEach(() => servers.fakes.reset());

/** Runs a job as the worker would, with its row on record. */
async function run(name: keyof typeof notificationHandlers, payload: object, messageId: string = randomUUID(), attempt = 1) {
  const payloadJson = JSON.stringify(payload);
  await createJobs(database).record([{ messageId, queue: 'notification', name, priority: 1, bodyHash: Buffer.alloc(32), payloadJson, traceparent: null }]);
  const handler = notificationHandlers[name] as (payload: unknown, context: object) => Promise<unknown>;
  return handler(payload, { ports, signal: new AbortController().signal, log: silentLogger, messageId, attempt, lastTry: false, progress() {} });
}
const push = (userId: string, changes: object = {}, messageId?: string) =>
  run('notification.send-push', { type: 'push', userId, title: userId, body: 'Dinner?', fcmToken: `device-${userId}`, ...changes }, messageId);
const pushes = () => servers.fakes.effects({ service: 'fcm', kind: 'push' });
/** Quiet hours that hold for another half an hour. */
async function quietNow(userId: string): Promise<void> {
  const minute = new Date().getUTCHours() * 60 + new Date().getUTCMinutes();
  const window = { startMinute: (minute + 1_430) % 1_440, endMinute: (minute + 30) % 1_440, days: [1, 2, 3, 4, 5, 6, 7] };
  await policy.setQuietHours(userId, { timeZone: 'UTC', windows: [window] });
}
async function rows(userId: string) {
  return (await database.query('SELECT success FROM notifications WHERE user_id = $1', [userId])).rows;
}

test('without settings and without the new fields a push is sent, with the rule that allowed it', async () => {
  const userId = randomUUID();
  await expect(push(userId)).resolves.toMatchObject({ status: 'done', result: { rule: 'sent' } });
  expect(await pushes()).toHaveLength(1);
  expect(await rows(userId)).toEqual([{ success: true }]);
});

test.each<[string, (userId: string) => Promise<unknown>, object]>([
  ['preference_off', (userId) => policy.setPreference(userId, { channel: 'push', category: 'message', enabled: false }), {}],
  ['blocked', (userId) => policy.block(userId, 'eve'), {}],
  ['left_chat', (userId) => policy.leaveChat(userId, 'family'), {}],
  ['already_read', (userId) => policy.markRead(userId, 'family', new Date()), { sentAt: new Date(Date.now() - 1_000).toISOString() }],
  ['too_old', async () => undefined, { expiresAt: new Date().toISOString() }],
  ['chat_muted', (userId) => policy.mute(userId, { chatId: 'family', until: null, exceptMentions: false }), {}],
  ['active_elsewhere', (userId) => policy.setActive(userId, 'laptop', new Date(Date.now() + 60_000)), {}],
])('%s: nothing is sent, the job says why, the row says failed, and no claim is left', async (rule, choose, changes) => {
  const userId = randomUUID();
  const messageId = randomUUID();
  await choose(userId);
  const message = { category: 'message', chatId: 'family', senderId: 'eve', ...changes };
  await expect(push(userId, message, messageId)).resolves.toMatchObject({ status: 'skipped', reason: rule });
  expect(await pushes()).toEqual([]);
  expect(await rows(userId)).toEqual([{ success: false }]);
  expect((await database.query('SELECT 1 FROM backhaul.effects WHERE message_id = $1', [messageId])).rows).toEqual([]);
});

test('a deleted message is not announced', async () => {
  const { rows: inserted } = await database.query<{ id: string }>(
    'INSERT INTO messages (sender_id, chat_id, deleted_at) VALUES (gen_random_uuid(), gen_random_uuid(), now()) RETURNING id',
  );
  await expect(push(randomUUID(), { category: 'message', chatMessageId: inserted[0]?.id })).resolves.toMatchObject({ reason: 'message_deleted' });
});

test('in quiet hours a push waits for their end without using up a try, and without a row; a call goes through and says so', async () => {
  const userId = randomUUID();
  await quietNow(userId);
  const later: unknown = await push(userId, { category: 'message' }).catch((error: unknown) => error);
  expect(later).toMatchObject({ name: 'RetryLater', code: 'quiet_hours' });
  expect((later as { delayMs: number }).delayMs).toBeGreaterThan(28 * 60_000);
  expect((later as { delayMs: number }).delayMs).toBeLessThanOrEqual(30 * 60_000);
  expect(await pushes()).toEqual([]);
  expect(await rows(userId)).toEqual([]);
  await expect(push(userId, { category: 'call' })).resolves.toMatchObject({ result: { rule: 'urgent_override' } });
  await policy.removeQuietHours(userId);
  await expect(push(userId, { category: 'message' })).resolves.toMatchObject({ result: { rule: 'sent' } });
});

test('twenty pushes at the same moment: as many as the cap are sent, the others wait, and security goes through', async () => {
  const userId = randomUUID();
  const ends = await Promise.allSettled(Array.from({ length: 20 }, () => push(userId)));
  expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
  for (const end of ends) if (end.status === 'rejected') expect(end.reason).toMatchObject({ name: 'RetryLater', code: 'cap_reached' });
  expect(await pushes()).toHaveLength(3);
  await expect(push(userId, { category: 'security' })).resolves.toMatchObject({ result: { rule: 'sent' } });
  await expect(push(randomUUID())).resolves.toMatchObject({ status: 'done' });
});

test('a mail about a message waits, and is not sent if the message is read meanwhile', async () => {
  const userId = randomUUID();
  const messageId = randomUUID();
  const sentAt = new Date(Date.now() - 10_000);
  const mail = {
    type: 'email',
    userId,
    title: 'Family',
    body: 'Dinner?',
    email: 'ann@example.com',
    category: 'message',
    chatId: 'family',
    sentAt: sentAt.toISOString(),
  };
  await expect(run('notification.send-email', mail, messageId)).rejects.toMatchObject({ name: 'RetryLater', code: 'unread_wait' });
  await policy.markRead(userId, 'family', sentAt);
  await expect(run('notification.send-email', mail, messageId)).resolves.toMatchObject({ status: 'skipped', reason: 'already_read' });
  const unread = { ...mail, chatId: 'work', sentAt: new Date(Date.now() - 60_000).toISOString() };
  await expect(run('notification.send-email', unread)).resolves.toMatchObject({ status: 'done', result: { rule: 'sent' } });
  expect(await servers.fakes.effects({ service: 'smtp', kind: 'mail' })).toHaveLength(1);
});

test('a push that was sent before a crash is settled by the run that follows, not called read', async () => {
  const userId = randomUUID();
  const messageId = randomUUID();
  const message = { category: 'message', chatId: 'family' };
  await push(userId, message, messageId);
  await policy.markRead(userId, 'family', new Date(Date.now() + 1_000));
  await expect(push(userId, message, messageId)).resolves.toMatchObject({ status: 'done', result: { alreadySent: true } });
  expect(await rows(userId)).toEqual([{ success: true }]);
});

test('a push to several people is judged for each: one is left out, one waits, and nobody waits with them or gets it twice', async () => {
  const [off, quiet, free] = [randomUUID(), randomUUID(), randomUUID()];
  const devices = createDeviceTokens(database);
  for (const userId of [off, quiet, free])
    for (const device of ['phone', 'tablet']) await devices.register({ userId, token: `${device}-of-${userId}-with-a-long-token`, platform: 'android' });
  await policy.setPreference(off, { channel: 'push', category: 'all', enabled: false });
  await quietNow(quiet);
  const messageId = randomUUID();
  const payload = { type: 'push', userIds: [off, quiet, free], title: messageId, body: 'Dinner?', category: 'system' };
  await expect(run('notification.send-push', payload, messageId)).rejects.toMatchObject({ name: 'RetryLater', code: 'quiet_hours' });
  expect(await pushes()).toHaveLength(2);
  expect([await rows(off), await rows(quiet), await rows(free)]).toEqual([[{ success: false }], [], [{ success: true }]]);
  await policy.removeQuietHours(quiet);
  await expect(run('notification.send-push', payload, messageId, 2)).resolves.toMatchObject({
    status: 'done',
    result: { users: 3, sent: 2, alreadySent: 2, suppressed: { preference_off: 2 } },
  });
  expect(await pushes()).toHaveLength(4);
  expect(await rows(quiet)).toEqual([{ success: true }]);
});

test('a push to somebody with devices whom the policy protects is skipped by its rule', async () => {
  const userId = randomUUID();
  await createDeviceTokens(database).register({ userId, token: `phone-of-${userId}-with-a-long-token`, platform: 'ios' });
  await policy.mute(userId, { chatId: 'family', until: null, exceptMentions: false });
  const payload = { type: 'push', userId, title: userId, body: 'Dinner?', category: 'message', chatId: 'family' };
  await expect(run('notification.send-push', payload)).resolves.toMatchObject({ status: 'skipped', reason: 'chat_muted' });
  expect(await pushes()).toEqual([]);
});

test('a chat that was read elsewhere: what waits of it is not sent, what comes later and other chats are', async () => {
  const userId = randomUUID();
  await createDeviceTokens(database).register({ userId, token: `phone-of-${userId}-with-a-long-token`, platform: 'android' });
  await quietNow(userId);
  const [family, work] = [randomUUID(), randomUUID()];
  const message = (chatId: string) => ({ category: 'message', chatId });
  for (const [id, chatId] of [
    [family, 'family'],
    [work, 'work'],
  ] as const)
    await expect(push(userId, message(chatId), id)).rejects.toMatchObject({ code: 'quiet_hours' });
  const event = { type: 'withdraw', userId, reason: 'read', chatId: 'family' };
  // Also in quiet hours: it shows nothing.
  await expect(run('notification.withdraw', event)).resolves.toMatchObject({ status: 'done', result: { cleared: 'sent' } });
  expect(await pushes()).toMatchObject([{ message: { data: { clear: 'read', chatId: 'family' } } }]);
  await policy.removeQuietHours(userId);
  await expect(push(userId, message('family'), family)).resolves.toMatchObject({ status: 'skipped', reason: 'withdrawn' });
  await expect(push(userId, message('work'), work)).resolves.toMatchObject({ status: 'done' });
  await expect(push(userId, message('family'))).resolves.toMatchObject({ status: 'done' });
  // Accepted later, but of before: the read mark knows.
  await expect(push(userId, { ...message('family'), sentAt: new Date(Date.now() - 60_000).toISOString() })).resolves.toMatchObject({ reason: 'already_read' });
});

test('what was accepted after the reading waits on, though the withdrawal comes later', async () => {
  const userId = randomUUID();
  const id = randomUUID();
  await quietNow(userId);
  await expect(push(userId, { category: 'message', chatId: 'family' }, id)).rejects.toMatchObject({ code: 'quiet_hours' });
  const sentAt = new Date(Date.now() - 60_000).toISOString();
  await run('notification.withdraw', { type: 'withdraw', userId, reason: 'read', chatId: 'family', sentAt });
  await policy.removeQuietHours(userId);
  await expect(push(userId, { category: 'message', chatId: 'family' }, id)).resolves.toMatchObject({ status: 'done' });
});

test('messages that are named are withdrawn for good, also where their push comes after the withdrawal', async () => {
  const userId = randomUUID();
  const event = { type: 'withdraw', userId, reason: 'deleted', chatMessageIds: ['m-1', 'm-1', 'm-2'] };
  const id = randomUUID();
  for (let twice = 0; twice < 2; twice += 1)
    await expect(run('notification.withdraw', event, id)).resolves.toMatchObject({ result: { cleared: 'no_devices' } });
  const of = (chatMessageId: string) => push(userId, { category: 'message', chatId: 'family', chatMessageId });
  expect([await of('m-1'), await of('m-2'), await of('m-3')]).toMatchObject([{ reason: 'withdrawn' }, { reason: 'withdrawn' }, { status: 'done' }]);
  await expect(push(randomUUID(), { chatMessageId: 'm-1' })).resolves.toMatchObject({ status: 'done' });
});

test('a log-out takes back the pushes that wait, not the mails', async () => {
  const userId = randomUUID();
  const [pushId, mailId] = [randomUUID(), randomUUID()];
  await quietNow(userId);
  await expect(push(userId, {}, pushId)).rejects.toMatchObject({ code: 'quiet_hours' });
  const mail = { type: 'email', userId, title: 'Sign-in', body: 'Was it you?', email: 'ann@example.com' };
  await expect(run('notification.send-email', mail, mailId)).rejects.toMatchObject({ code: 'quiet_hours' });
  await run('notification.withdraw', { type: 'withdraw', userId, reason: 'logged_out' });
  await policy.removeQuietHours(userId);
  await expect(push(userId, {}, pushId)).resolves.toMatchObject({ reason: 'withdrawn' });
  await expect(run('notification.send-email', mail, mailId)).resolves.toMatchObject({ status: 'done' });
});

test('each decision is counted by its rule', async () => {
  const counted = async (rule: string) => {
    const line = (await metrics.registry.metrics())
      .split('\n')
      .find((each) => each.includes('notification_decisions_total{') && each.includes(`rule="${rule}"`));
    return Number(line?.split(' ').at(-1) ?? 0);
  };
  const userId = randomUUID();
  await policy.block(userId, 'eve');
  const before = [await counted('blocked'), await counted('sent'), await counted('unread_wait')];
  await push(userId, { senderId: 'eve' });
  await push(userId);
  const mail = { type: 'email', userId, title: 'Family', body: 'Dinner?', email: 'ann@example.com', category: 'message' };
  await expect(run('notification.send-email', mail)).rejects.toMatchObject({ code: 'unread_wait' });
  expect([await counted('blocked'), await counted('sent'), await counted('unread_wait')]).toEqual(before.map((count) => count + 1));
});
