import { randomUUID } from 'node:crypto';
import { createMailSuppressions } from '@backhaul/database';
import { type NotificationPorts, notificationHandlers } from '@backhaul/jobs/notification';
import { createMetrics, silentLogger } from '@backhaul/runtime';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

let servers: TestChannels;
let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let ports: NotificationPorts;

const makePorts = async (changes: Record<string, string>) =>
  createPorts({
    channels: await servers.channels(changes),
    database: testDatabase.database,
    log: silentLogger,
    metrics: createMetrics(`test-${randomUUID()}`),
  });

beforeAll(async () => {
  servers = await startTestChannels();
  testDatabase = await createTestDatabase();
  ports = await makePorts({ MAIL_PROVIDERS: 'smtp,resend' });
});
afterAll(async () => {
  await servers.close();
  await testDatabase.close();
});
beforeEach(() => servers.fakes.reset());

function send(messageId: string, changes: object = {}, through: NotificationPorts = ports) {
  const context = { ports: through, signal: new AbortController().signal, log: silentLogger, messageId, attempt: 1, lastTry: false, progress() {} };
  return notificationHandlers['notification.send-email'](
    { type: 'email', userId: randomUUID(), title: 'Family', body: 'Dinner?', email: 'ann@example.com', ...changes },
    context,
  );
}
const mails = async (service: 'smtp' | 'resend') => (await servers.fakes.effects({ service, kind: 'mail' })).length;
const leaseRunsOut = (messageId: string) =>
  testDatabase.database.query(`UPDATE backhaul.effects SET lease_until = now() - interval '1 second' WHERE message_id = $1`, [messageId]);
const ledger = async (messageId: string) =>
  (await testDatabase.database.query('SELECT state, provider FROM backhaul.effects WHERE message_id = $1 ORDER BY effect_key', [messageId])).rows;

test('while the relay takes nothing Resend sends, and the ledger says so', async () => {
  const id = randomUUID();
  await servers.fakes.script('smtp', [{ match: { step: 'ehlo' }, action: { status: 421 } }]);
  await expect(send(id)).resolves.toMatchObject({ status: 'done' });
  expect([await mails('smtp'), await mails('resend')]).toEqual([0, 1]);
  expect(await ledger(id)).toEqual([{ state: 'confirmed', provider: 'resend' }]);
});

test('A-07 mail: a lost reply of the relay is settled with the relay: Resend never sees the mail', async () => {
  const id = randomUUID();
  await servers.fakes.script('smtp', [{ match: { step: 'message' }, times: 1, action: { loseReply: true } }]);
  await expect(send(id)).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  expect(await ledger(id)).toEqual([{ state: 'claimed', provider: 'smtp' }]);
  await leaseRunsOut(id);
  // Not even while the relay is away.
  const { remove } = await servers.fakes.script('smtp', [{ match: { step: 'mail' }, action: { reset: true } }]);
  await expect(send(id)).rejects.toMatchObject({ code: 'provider_unavailable' });
  await remove();
  await leaseRunsOut(id);
  await expect(send(id)).resolves.toMatchObject({ status: 'done' });
  expect([await mails('smtp'), await mails('resend')]).toEqual([2, 0]);
  const ids = (await servers.fakes.effects({ service: 'smtp', kind: 'mail' })).map((mail) => mail['messageId']);
  expect(new Set(ids).size).toBe(1);
});

test('A-07 mail: a lost answer of Resend costs no copy: it knows the key', async () => {
  const id = randomUUID();
  const first = await makePorts({ MAIL_PROVIDERS: 'resend,smtp' });
  await servers.fakes.script('resend', [{ times: 1, action: { loseReply: true } }]);
  await expect(send(id, {}, first)).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  await leaseRunsOut(id);
  await expect(send(id, {}, first)).resolves.toMatchObject({ status: 'done' });
  expect([await mails('smtp'), await mails('resend')]).toEqual([0, 1]);
  expect(await ledger(id)).toMatchObject([
    { state: 'confirmed', provider: 'resend' },
    { state: 'confirmed', provider: null },
  ]);
});

test('a hard bounce suppresses the address until it is taken off the list', async () => {
  const email = 'gone@example.com';
  await servers.fakes.script('smtp', [{ match: { step: 'rcpt', to: email }, times: 1, action: { status: 550, code: '5.1.1', body: 'no such mailbox' } }]);
  await expect(send(randomUUID(), { email })).rejects.toMatchObject({ name: 'PermanentFailure', code: 'mailbox_refused' });
  await expect(send(randomUUID(), { email: 'Gone@Example.com' })).resolves.toMatchObject({ status: 'skipped', reason: 'suppressed' });
  expect([await mails('smtp'), await mails('resend')]).toEqual([0, 0]);
  const suppressions = createMailSuppressions(testDatabase.database);
  const [entry] = await suppressions.list({ limit: 1, address: email });
  expect(entry).toMatchObject({ maskedAddress: 'g…@example.com', reason: 'hard_bounce', code: '5.1.1' });
  await suppressions.remove(entry?.id ?? '');
  await expect(send(randomUUID(), { email })).resolves.toMatchObject({ status: 'done' });
});

test('beyond MAIL_PER_MINUTE mails wait for their places, of whatever worker, and urgent ones do not', async () => {
  const one = await makePorts({ MAIL_PER_MINUTE: '1' });
  const other = await makePorts({ MAIL_PER_MINUTE: '1' });
  await expect(send(randomUUID(), {}, one)).resolves.toMatchObject({ status: 'done' });
  const second = randomUUID();
  const third = randomUUID();
  await expect(send(second, {}, other)).rejects.toMatchObject({ name: 'RetryLater', code: 'dispatch_limit' });
  await expect(send(third, {}, one)).rejects.toMatchObject({ code: 'dispatch_limit' });
  await expect(send(randomUUID(), { urgent: true }, one)).resolves.toMatchObject({ status: 'done' });
  expect(await mails('smtp')).toBe(2);
  expect(await ledger(second)).toEqual([]);
  const { rows } = await testDatabase.database.query<{ message_id: string; seconds: number }>(
    'SELECT message_id, extract(epoch FROM due_at - now())::float8 AS seconds FROM backhaul.mail_slots ORDER BY due_at',
  );
  expect(rows.map((row) => row.message_id)).toEqual([second, third]);
  expect(rows[1] === undefined || rows[0] === undefined ? 0 : rows[1].seconds - rows[0].seconds).toBeCloseTo(65, 0);
});
