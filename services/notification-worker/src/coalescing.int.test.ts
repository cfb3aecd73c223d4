import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Database, createDeviceTokens, createJobs, createWithdrawals } from '@backhaul/database';
import { type NotificationPorts, notificationHandlers } from '@backhaul/jobs/notification';
import { RetryLater } from '@backhaul/queue/job';
import { createMetrics, silentLogger } from '@backhaul/runtime';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

// Wide enough for a machine that has other things to do as well.
const quietMs = 1_000;
const maxWaitMs = 4_000;
const toDevice = { fcmToken: 'phone' };
let servers: TestChannels;
let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let database: Database;
let ports: NotificationPorts;

beforeAll(async () => {
  servers = await startTestChannels();
  testDatabase = await createTestDatabase();
  database = testDatabase.database;
  const channels = await servers.channels();
  ports = createPorts({
    channels,
    database,
    log: silentLogger,
    metrics: createMetrics('test'),
    policy: { perHour: {}, mailWaitMs: 0, coalesce: { quietMs, maxWaitMs } },
  });
  // Connections are made by the first push, which takes longer.
  await push(randomUUID(), toDevice);
});
afterAll(async () => {
  await servers.close();
  await testDatabase.close();
});
beforeEach(() => servers.fakes.reset());

/** How the job of a message ended, and how long after it came. */
interface End {
  readonly messageId: string;
  readonly status: string;
  readonly reason?: string;
  readonly detail?: string;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly afterMs: number;
  readonly runs: number;
}

/** Runs the job of a push as the worker would: recorded, and again whenever it asks for that. */
async function push(userId: string, changes: object = {}, messageId: string = randomUUID()): Promise<End> {
  const payload = { type: 'push', userId, title: 'Ann', body: 'Dinner?', category: 'message', chatId: 'family', chatName: 'Family', ...changes };
  await createJobs(database).record([
    {
      messageId,
      queue: 'notification',
      name: 'notification.send-push',
      priority: 3,
      bodyHash: Buffer.alloc(32),
      payloadJson: JSON.stringify(payload),
      traceparent: null,
    },
  ]);
  const startedAt = performance.now();
  for (let attempt = 1; ; attempt += 1) {
    try {
      const context = { ports, signal: new AbortController().signal, log: silentLogger, messageId, attempt, lastTry: false, progress() {} };
      const outcome = await notificationHandlers['notification.send-push'](payload as never, context);
      return { messageId, ...outcome, runs: attempt, afterMs: performance.now() - startedAt };
    } catch (error) {
      if (!(error instanceof RetryLater)) throw error;
      // A claim in doubt lasts for 45 s; its end is brought forward.
      if (error.code === 'delivery_ambiguous') await database.query(`UPDATE backhaul.effects SET lease_until = now() - interval '1 second'`);
      await pause(error.code === 'delivery_ambiguous' ? 0 : error.delayMs);
    }
  }
}

async function shown() {
  const pushes = await servers.fakes.effects({ service: 'fcm', kind: 'push' });
  return pushes.map((effect) => effect['message'] as { token: string; notification: { title: string; body: string } });
}

test('the first message is pushed at once, the five that follow as one, and each job says what became of it', async () => {
  const userId = randomUUID();
  const first = await push(userId, toDevice);
  expect(first).toMatchObject({ status: 'done', result: { rule: 'sent' } });
  expect(first.runs).toBe(1);
  const others = await Promise.all(Array.from({ length: 5 }, () => push(userId, toDevice)));
  expect((await shown()).map(({ notification }) => notification)).toEqual([
    { title: 'Ann', body: 'Dinner?' },
    { title: 'Family', body: '5 new messages in Family' },
  ]);
  const [summary, ...more] = others.filter(({ status }) => status === 'done');
  expect(more).toEqual([]);
  expect(summary?.result).toMatchObject({ rule: 'coalesced_summary', messages: 5 });
  for (const counted of others.filter((each) => each !== summary)) {
    expect(counted).toMatchObject({ status: 'skipped', reason: 'coalesced', detail: `one of 5 messages that ${summary?.messageId ?? ''} announces` });
  }
  // The chat is quiet again.
  await pause(quietMs + 50);
  await expect(push(userId, toDevice)).resolves.toMatchObject({ result: { rule: 'sent' } });
});

test('other chats, other users, mentions, calls and pushes that show nothing are not gathered', async () => {
  const userId = randomUUID();
  await push(userId, toDevice);
  const ends = await Promise.all([
    push(userId, { ...toDevice, chatId: 'work' }),
    push(randomUUID(), toDevice),
    push(userId, { ...toDevice, category: 'mention' }),
    push(userId, { ...toDevice, category: 'call' }),
    push(userId, { ...toDevice, push: { dataOnly: true } }),
    push(userId, { ...toDevice, category: undefined }),
  ]);
  for (const end of ends) {
    expect(end).toMatchObject({ status: 'done', result: { rule: 'sent' } });
    expect(end.runs).toBe(1);
  }
});

test('what was taken back or deleted while it was gathered is not counted', async () => {
  const userId = randomUUID();
  const { rows } = await database.query<{ id: string }>('INSERT INTO messages (sender_id, chat_id) VALUES (gen_random_uuid(), gen_random_uuid()) RETURNING id');
  const deleted = rows[0]?.id ?? '';
  await push(userId, toDevice);
  const running = [
    push(userId, toDevice),
    push(userId, toDevice),
    push(userId, { ...toDevice, chatMessageId: deleted }),
    push(userId, { ...toDevice, chatMessageId: 'taken-back' }),
  ];
  await pause(quietMs / 4);
  await database.query('UPDATE messages SET deleted_at = now() WHERE id = $1', [deleted]);
  await createWithdrawals(database).add({
    messageId: randomUUID(),
    userId,
    reason: 'deleted',
    chatId: 'family',
    chatMessageIds: ['taken-back'],
    readUpTo: undefined,
  });
  const ends = await Promise.all(running);
  expect(ends.slice(2)).toMatchObject([{ reason: 'message_deleted' }, { reason: 'withdrawn' }]);
  expect((await shown()).map(({ notification }) => notification.body)).toEqual(['Dinner?', '2 new messages in Family']);
});

test('a chat that was read while messages were gathered is not announced at all', async () => {
  const userId = randomUUID();
  await push(userId, toDevice);
  const running = Array.from({ length: 3 }, () => push(userId, toDevice));
  await pause(quietMs / 4);
  await createWithdrawals(database).add({ messageId: randomUUID(), userId, reason: 'read', chatId: 'family', chatMessageIds: [], readUpTo: undefined });
  for (const end of await Promise.all(running)) expect(end).toMatchObject({ status: 'skipped', reason: 'withdrawn' });
  expect(await shown()).toHaveLength(1);
});

test('a summary whose answer was lost is repeated as it was', async () => {
  const userId = randomUUID();
  await push(userId, toDevice);
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, times: 1, action: { loseReply: true } }]);
  await Promise.all(Array.from({ length: 3 }, () => push(userId, toDevice)));
  expect((await shown()).map(({ notification }) => notification.body)).toEqual(['Dinner?', '3 new messages in Family', '3 new messages in Family']);
});

test('each device of an event of its own has its own summary, and every device of a user the same', async () => {
  const userId = randomUUID();
  for (const fcmToken of ['phone', 'tablet']) await push(userId, { fcmToken });
  await Promise.all(['phone', 'tablet'].flatMap((fcmToken) => [1, 2].map(() => push(userId, { fcmToken }))));
  const ofEach = (await shown()).map(({ token, notification }) => `${token}: ${notification.body}`).toSorted();
  const expected = ['phone: 2 new messages in Family', 'phone: Dinner?', 'tablet: 2 new messages in Family', 'tablet: Dinner?'];
  expect(ofEach).toEqual(expected);

  await servers.fakes.reset();
  const reader = randomUUID();
  for (const device of ['phone', 'tablet']) await createDeviceTokens(database).register({ userId: reader, token: device, platform: 'android' });
  await push(reader);
  const ends = await Promise.all([1, 2].map(() => push(reader, { locale: 'de' })));
  expect((await shown()).map(({ token, notification }) => `${token}: ${notification.body}`).toSorted()).toEqual(
    expected.map((each) => each.replace('2 new messages', '2 neue Nachrichten')),
  );
  expect(ends.map(({ reason, result }) => String(reason ?? result?.['rule'])).toSorted()).toEqual(['coalesced', 'coalesced_summary']);
});

test('each device of a user is told in its own language, and in that of the event where it has none that there are texts for', async () => {
  const userId = randomUUID();
  const locales = { english: 'en-GB', german: 'de-AT', french: 'fr', silent: undefined };
  const tokens = createDeviceTokens(database);
  for (const [name, locale] of Object.entries(locales)) await tokens.register({ userId, token: `${name}:${userId}`, platform: 'ios', locale });
  await push(userId);
  await servers.fakes.reset();
  await Promise.all([1, 2].map(() => push(userId, { locale: 'es' })));
  const told = (await shown()).map(({ token, notification }) => [token.split(':')[0], notification.body]);
  expect(Object.fromEntries(told)).toEqual({
    english: '2 new messages in Family',
    german: '2 neue Nachrichten in Family',
    french: '2 mensajes nuevos en Family',
    silent: '2 mensajes nuevos en Family',
  });
  expect(told).toHaveLength(4);
});

test('of fifty messages at odd moments each is announced once, by itself or in one summary, and none after the longest wait', async () => {
  const userId = randomUUID();
  const ends = await Promise.all(
    Array.from({ length: 50 }, async () => {
      await pause(randomInt(0, 4_000));
      return push(userId, toDevice);
    }),
  );
  const { rows } = await database.query<{ id: string; summary: string; count: number }>(
    'SELECT message_id AS id, summary_id AS summary, count FROM backhaul.coalesced_messages WHERE user_id = $1',
    [userId],
  );
  expect(rows.map(({ id }) => id).toSorted()).toEqual(ends.map(({ messageId }) => messageId).toSorted());
  const own = rows.filter(({ id, summary }) => id === summary);
  expect(own.reduce((sum, { count }) => sum + count, 0)).toBe(50);
  for (const { id, count } of own) expect(rows.filter(({ summary }) => summary === id)).toHaveLength(count);
  const told = (await shown()).map(({ notification }) => Number(/^(\d+) new messages/.exec(notification.body)?.[1] ?? 1));
  const byNumber = (left: number, right: number) => left - right;
  expect(told.toSorted(byNumber)).toEqual(own.map(({ count }) => count).toSorted(byNumber));
  expect(told.length).toBeLessThan(25);
  // And what the machine takes for fifty jobs at once.
  for (const { afterMs } of ends) expect(afterMs).toBeLessThan(maxWaitMs + 3_000);
});
