import { randomUUID } from 'node:crypto';
import type { Database } from '@backhaul/database';
import { type NotificationPorts, notificationHandlers } from '@backhaul/jobs/notification';
import { createMetrics, silentLogger } from '@backhaul/runtime';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

let servers: TestChannels;
let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let database: Database;
let ports: NotificationPorts;

beforeAll(async () => {
  servers = await startTestChannels();
  testDatabase = await createTestDatabase();
  database = testDatabase.database;
  ports = createPorts({ channels: await servers.channels(), database, log: silentLogger, metrics: createMetrics('test') });
});
afterAll(async () => {
  await servers.close();
  await testDatabase.close();
});
beforeEach(() => servers.fakes.reset());

const userId = randomUUID();
const text = { userId, title: 'Family', body: 'Dinner?' };

function run<Name extends keyof typeof notificationHandlers>(
  name: Name,
  payload: Parameters<(typeof notificationHandlers)[Name]>[0],
  messageId: string,
  lastTry = false,
) {
  // One call for three handlers: the payload belongs to the name, which a union of functions cannot show.
  const handler = notificationHandlers[name] as (payload: unknown, context: object) => Promise<unknown>;
  return handler(payload, { ports, signal: new AbortController().signal, log: silentLogger, messageId, attempt: 1, lastTry, progress() {} });
}
const push = (messageId: string, changes: object = {}) =>
  run('notification.send-push', { type: 'push', ...text, fcmToken: `device-${messageId}`, ...changes }, messageId);
const mail = (messageId: string, changes: object = {}) =>
  run('notification.send-email', { type: 'email', ...text, email: 'ann@example.com', ...changes }, messageId);
const sms = (messageId: string, changes: object = {}) =>
  run('notification.send-sms', { type: 'sms', ...text, phoneNumber: '+4915112345678', ...changes }, messageId);

/** The rows that one message has in `notifications`, found by its title. */
async function rows(title: string) {
  return (await database.query('SELECT user_id, type, title, body, success FROM notifications WHERE title = $1', [title])).rows;
}
async function leasesRunOut(messageId: string) {
  await database.query(`UPDATE backhaul.effects SET lease_until = now() - interval '1 second' WHERE message_id = $1`, [messageId]);
}

test.each([
  ['push', push, 'fcm'],
  ['email', mail, 'smtp'],
  ['sms', sms, 'sms'],
] as const)('a %s that is run three times is sent once and has one row', async (type, send, service) => {
  const id = randomUUID();
  await expect(send(id, { title: id })).resolves.toMatchObject({ status: 'done' });
  for (let again = 0; again < 2; again += 1) await expect(send(id, { title: id })).resolves.toMatchObject({ result: { alreadySent: true } });
  expect(await servers.fakes.effects({ service, kind: type === 'email' ? 'mail' : type })).toHaveLength(1);
  expect(await rows(id)).toEqual([{ user_id: userId, type, title: id, body: 'Dinner?', success: true }]);
});

test('ten workers with the same message at the same moment send it once', async () => {
  const id = randomUUID();
  const runs = await Promise.allSettled(Array.from({ length: 10 }, () => push(id)));
  expect(runs.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(1);
  for (const one of runs) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'delivery_busy' });
  expect(await servers.fakes.effects({ service: 'fcm', kind: 'push' })).toHaveLength(1);
});

test('A-07 push: a lost reply is followed by one resend with the same collapse key, and one row', async () => {
  const id = randomUUID();
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, times: 1, action: { loseReply: true } }]);
  await expect(push(id, { title: id })).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  expect(await rows(id)).toEqual([]);
  await leasesRunOut(id);
  await expect(push(id, { title: id })).resolves.toMatchObject({ status: 'done' });
  const pushes = await servers.fakes.effects({ service: 'fcm', kind: 'push' });
  const keys = pushes.map((effect) => (effect['message'] as { android: { collapse_key: string } }).android.collapse_key);
  expect([keys.length, new Set(keys).size]).toEqual([2, 1]);
  expect(await rows(id)).toMatchObject([{ success: true }]);
});

test('D-18 mail: when every reply is lost there are two copies with one Message-ID, never three, and the row says failed', async () => {
  const id = randomUUID();
  await servers.fakes.script('smtp', [{ match: { step: 'message' }, action: { loseReply: true } }]);
  await expect(mail(id, { title: id })).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  await leasesRunOut(id);
  await expect(mail(id, { title: id })).rejects.toMatchObject({ name: 'PermanentFailure', code: 'delivery_unknown' });
  await leasesRunOut(id);
  await expect(mail(id, { title: id })).rejects.toMatchObject({ code: 'delivery_unknown' });
  const mails = await servers.fakes.effects({ service: 'smtp', kind: 'mail' });
  expect(mails).toHaveLength(2);
  expect(new Set(mails.map((one) => one['messageId'])).size).toBe(1);
  expect(await rows(id)).toMatchObject([{ success: false }]);
  expect((await ports.effects.claim(`none:${id}`, { messageId: id, leaseMs: 1 })).state).toBe('claimed');
});

test('A-07 SMS: after a lost reply the provider is asked, and the one message counts as sent', async () => {
  const id = randomUUID();
  await servers.fakes.script('sms', [{ times: 1, action: { loseReply: true } }]);
  await expect(sms(id, { title: id })).rejects.toMatchObject({ name: 'RetryLater', code: 'delivery_ambiguous' });
  await leasesRunOut(id);
  await expect(sms(id, { title: id })).resolves.toMatchObject({ status: 'done', result: { alreadySent: true } });
  const sent = await servers.fakes.effects({ service: 'sms', kind: 'sms' });
  expect(sent).toHaveLength(1);
  expect((await database.query('SELECT state, provider_id FROM backhaul.effects WHERE message_id = $1', [id])).rows).toEqual([
    { state: 'confirmed', provider_id: sent[0]?.['sid'] },
  ]);
  expect(await rows(id)).toMatchObject([{ success: true }]);
});

test('D-22 SMS: an earlier message with the same text is not taken for one that was lost', async () => {
  const own = { phoneNumber: '+4915155500004', title: 'Alarm', body: 'The door is open' };
  await expect(sms(randomUUID(), own)).resolves.toMatchObject({ status: 'done' });
  const id = randomUUID();
  await servers.fakes.script('sms', [{ match: { operation: 'create' }, times: 1, action: { reset: true } }]);
  await expect(sms(id, own)).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  await leasesRunOut(id);
  await expect(sms(id, own)).rejects.toMatchObject({ code: 'delivery_unknown' });
  expect(await servers.fakes.effects({ service: 'sms', kind: 'sms' })).toHaveLength(1);
});

test('D-22 SMS: after a request of which the provider shows nothing the message is unknown for ever', async () => {
  const id = randomUUID();
  await servers.fakes.script('sms', [{ match: { operation: 'create' }, times: 1, action: { reset: true } }]);
  await expect(sms(id, { title: id })).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  for (let again = 0; again < 2; again += 1) {
    await leasesRunOut(id);
    await expect(sms(id, { title: id })).rejects.toMatchObject({ name: 'PermanentFailure', code: 'delivery_unknown' });
  }
  expect(await servers.fakes.effects({ service: 'sms', kind: 'sms' })).toEqual([]);
  expect((await database.query('SELECT state FROM backhaul.effects WHERE message_id = $1', [id])).rows).toEqual([{ state: 'unknown' }]);
  expect(await rows(id)).toMatchObject([{ success: false }]);
});

test('D-22 SMS: an opt-out holds for every later message to the number', async () => {
  const phoneNumber = '+4915155500001';
  await servers.fakes.script('sms', [{ times: 1, action: { code: '21610' } }]);
  await expect(sms(randomUUID(), { phoneNumber })).rejects.toMatchObject({ name: 'PermanentFailure', code: 'opted_out' });
  await expect(sms(randomUUID(), { phoneNumber })).resolves.toMatchObject({ status: 'skipped', reason: 'opted_out' });
  expect(await servers.fakes.effects({ service: 'sms', kind: 'sms' })).toEqual([]);
});

test('the sixth code within an hour is not sent to the number, nor one that was accepted six minutes ago', async () => {
  const code = { phoneNumber: '+4915155500002', class: 'otp', body: '845213' };
  for (let count = 0; count < 5; count += 1) await expect(sms(randomUUID(), code)).resolves.toMatchObject({ status: 'done' });
  await expect(sms(randomUUID(), code)).resolves.toMatchObject({ status: 'skipped', reason: 'rate_limited' });
  const late = randomUUID();
  await database.query(
    `INSERT INTO backhaul.jobs (message_id, queue, name, priority, body_hash, payload, received_at)
     VALUES ($1, 'notification', 'notification.send-sms', 1, '', '{}', now() - interval '6 minutes')`,
    [late],
  );
  await expect(sms(late, { ...code, phoneNumber: '+4915155500003' })).resolves.toMatchObject({ status: 'skipped', reason: 'expired' });
  expect(await servers.fakes.effects({ service: 'sms', kind: 'sms' })).toHaveLength(5);
});

test('a refused push may be replayed once the reason is gone: one row, which then says success', async () => {
  const id = randomUUID();
  const script = await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action: { code: 'UNREGISTERED' } }]);
  await expect(push(id, { title: id })).rejects.toMatchObject({ name: 'PermanentFailure', code: 'unregistered' });
  expect(await rows(id)).toMatchObject([{ success: false }]);
  await script.remove();
  await expect(push(id, { title: id })).resolves.toMatchObject({ status: 'done' });
  expect(await rows(id)).toMatchObject([{ success: true }]);
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action: { code: 'UNREGISTERED' } }]);
  await push(id, { title: id });
  expect(await rows(id)).toMatchObject([{ success: true }]);
});

test('a provider that stays away leaves one failed row after the last try, and none before', async () => {
  const id = randomUUID();
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action: { code: 'INTERNAL' } }]);
  const payload = { type: 'push' as const, ...text, title: id, fcmToken: 'device' };
  await expect(run('notification.send-push', payload, id)).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(await rows(id)).toEqual([]);
  await expect(run('notification.send-push', payload, id, true)).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(await rows(id)).toMatchObject([{ success: false }]);
});

test('F-21, F-23: hostile text arrives as text, in one mail to one recipient', async () => {
  const id = randomUUID();
  const title = `Hi\r\nBcc: eve@example.com\r\n\r\n<script>`;
  const body = `\${7*7} {{constructor}} <%= 7*7 %> <img src=x onerror=alert(1)>\r\n.\r\nMAIL FROM:<eve@example.com>\r\n`;
  await mail(id, { title, body });
  const mails = await servers.fakes.effects({ service: 'smtp', kind: 'mail' });
  expect(mails).toHaveLength(1);
  expect(mails[0]).toMatchObject({ to: ['ann@example.com'], subject: 'Hi Bcc: eve@example.com <script>' });
  expect(mails.flatMap((one) => one['headers'] as string[]).filter((line) => /^bcc/i.test(line))).toEqual([]);
  expect(mails[0]?.['text']).toContain('${7*7} {{constructor}} <%= 7*7 %> <img src=x onerror=alert(1)>\n.\nMAIL FROM:<eve@example.com>');
});

test.each([
  ['email', mail, { email: undefined }],
  ['sms', sms, { phoneNumber: undefined }],
] as const)('a %s without an address is skipped and has one failed row', async (_type, send, without) => {
  const id = randomUUID();
  await expect(send(id, { title: id, ...without })).resolves.toMatchObject({ status: 'skipped', reason: 'no_address' });
  await expect(send(id, { title: id, ...without })).resolves.toMatchObject({ status: 'skipped' });
  expect(await rows(id)).toMatchObject([{ success: false }]);
});

test('a user id that the table refuses costs the row, not the message', async () => {
  const id = randomUUID();
  await expect(push(id, { title: id, userId: 'not-a-uuid' })).resolves.toMatchObject({ status: 'done' });
  expect(await rows(id)).toEqual([]);
});

test('of many rows that are recorded together, one that the table refuses keeps none of its neighbours from being written', async () => {
  const title = randomUUID();
  const many = ['first', 'refused', 'odd', 'last'].map((body, n) => ({
    messageId: `${title}-${n}`,
    channel: 'push' as const,
    userId: body === 'refused' ? 'not-a-uuid' : userId,
    title,
    body: body === 'odd' ? 'a\0b' : body,
    success: body !== 'last',
  }));
  await ports.notifications.recordAll(many);
  const written = async () => (await rows(title)).map(({ body, success }) => `${String(body)} ${String(success)}`).toSorted();
  expect(await written()).toEqual(['ab true', 'first true', 'last false']);
  // Once more, as after a crash, and with a success at last: the same rows.
  await ports.notifications.recordAll(many.map((row) => ({ ...row, success: row.body === 'last' })).toReversed());
  expect(await written()).toEqual(['ab true', 'first true', 'last true']);
});

test('text with a NUL is sent and logged', async () => {
  const id = randomUUID();
  await expect(push(id, { title: id, body: 'a\0b' })).resolves.toMatchObject({ status: 'done' });
  expect(await rows(id)).toMatchObject([{ body: 'ab', success: true }]);
});

test('a channel without settings makes dead letters that name the variables, and sends nothing', async () => {
  const id = randomUUID();
  const none = {
    SMS_API_KEY: '',
    SMS_API_SECRET: '',
    SMS_FROM_NUMBER: '',
    FIREBASE_PROJECT_ID: '',
    FIREBASE_CLIENT_EMAIL: '',
    FIREBASE_PRIVATE_KEY: '',
    SMTP_HOST: '',
    SMTP_FROM: '',
    SMTP_USER: '',
    SMTP_PASSWORD: '',
    RESEND_API_KEY: '',
    MAIL_PROVIDERS: '',
  };
  const bare = createPorts({ channels: await servers.channels(none), database, log: silentLogger, metrics: createMetrics('test') });
  const context = { ports: bare, signal: new AbortController().signal, log: silentLogger, messageId: id, attempt: 1, lastTry: false, progress() {} };
  await expect(
    notificationHandlers['notification.send-sms']({ type: 'sms', ...text, title: id, phoneNumber: '+4915112345678' }, context),
  ).rejects.toMatchObject({
    name: 'PermanentFailure',
    code: 'channel_not_configured',
    message: expect.stringContaining('SMS_API_KEY') as string,
  });
  expect(await rows(id)).toMatchObject([{ success: false }]);
  // Once the channel is there the dead letter can be replayed.
  await expect(sms(id, { title: id })).resolves.toMatchObject({ status: 'done' });
  expect(await rows(id)).toMatchObject([{ success: true }]);
});
