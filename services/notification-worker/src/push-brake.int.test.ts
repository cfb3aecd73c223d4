import { randomUUID } from 'node:crypto';
import { createDeviceTokens } from '@backhaul/database';
import { type NotificationPorts, notificationHandlers } from '@backhaul/jobs/notification';
import { type Metrics, createMetrics, silentLogger } from '@backhaul/runtime';
import type { Action } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

let servers: TestChannels;
let world: Awaited<ReturnType<typeof createTestDatabase>>;
/** Two workers on the same database. */
let one: { ports: NotificationPorts; metrics: Metrics };
let other: typeof one;

async function worker(): Promise<typeof one> {
  const metrics = createMetrics('test');
  return { metrics, ports: createPorts({ channels: await servers.channels(), database: world.database, log: silentLogger, metrics }) };
}

beforeAll(async () => {
  servers = await startTestChannels();
  world = await createTestDatabase();
}, 60_000);
afterAll(async () => {
  await servers.close();
  await world.close();
});
beforeEach(async () => {
  await servers.fakes.reset();
  await world.database.query('DELETE FROM backhaul.channel_holds');
  [one, other] = [await worker(), await worker()];
});

const push = (by: typeof one, messageId: string, to: object, attempt = 1) =>
  notificationHandlers['notification.send-push'](
    { type: 'push', title: 'Family', body: 'Dinner?', ...to },
    { ports: by.ports, signal: new AbortController().signal, log: silentLogger, messageId, attempt, lastTry: true, progress() {} },
  );
const toToken = () => ({ userId: randomUUID(), fcmToken: `device-${randomUUID()}` });
const sends = async () => (await servers.fakes.traffic()).fcm.requests['send'] ?? 0;
/** For how much longer pushes are held, in seconds. */
async function heldSeconds(): Promise<number | undefined> {
  const { rows } = await world.database.query<{ seconds: number }>(
    `SELECT extract(epoch FROM held_until - now())::float8 AS seconds FROM backhaul.channel_holds WHERE channel = 'push'`,
  );
  return rows[0]?.seconds;
}
/** Ends the hold, as time would, for workers that have not looked yet. */
async function holdIsOver() {
  await world.database.query('DELETE FROM backhaul.channel_holds');
  [one, other] = [await worker(), await worker()];
}
const unauthorized = async ({ metrics }: typeof one) => (await metrics.registry.getSingleMetric('backhaul_channel_unauthorized')?.get())?.values[0]?.value;

test.each([
  ['30', 30],
  [undefined, 60],
  ['3600', 3_600],
  ['soon', 60],
])('D-08: a 429 with Retry-After %s stops every push of every worker for that time, and burns no try', async (retryAfter, seconds) => {
  await servers.fakes.script('fcm', [
    { match: { operation: 'send' }, action: { code: 'QUOTA_EXCEEDED', ...(retryAfter === undefined ? {} : { headers: { 'retry-after': retryAfter } }) } },
  ]);
  await expect(push(one, randomUUID(), toToken())).rejects.toMatchObject({ name: 'RetryLater', code: 'rate_limited', delayMs: seconds * 1_000 });
  expect(await heldSeconds()).toBeGreaterThan(seconds - 10);
  expect(await heldSeconds()).toBeLessThanOrEqual(seconds);
  await servers.fakes.reset();
  const before = await sends();
  for (const by of [one, other, one, other]) {
    await expect(push(by, randomUUID(), toToken())).rejects.toMatchObject({ name: 'RetryLater', code: 'channel_held' });
  }
  expect((await sends()) - before).toBe(0);
  await holdIsOver();
  await expect(push(other, randomUUID(), toToken())).resolves.toMatchObject({ status: 'done' });
});

test('a 429 in the middle of a push to hundreds of users stops it, and the next run reaches the others, each once', async () => {
  const devices = createDeviceTokens(world.database);
  const userIds = Array.from({ length: 500 }, () => randomUUID());
  for (const userId of userIds) await devices.register({ token: `token:${userId}`, userId, platform: 'web' });
  const id = randomUUID();
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, nth: 100, action: { code: 'QUOTA_EXCEEDED', headers: { 'retry-after': '60' } } }]);
  const before = await sends();
  await expect(push(one, id, { userIds })).rejects.toMatchObject({ name: 'RetryLater', code: expect.stringMatching(/rate_limited|channel_held/) as string });
  const made = (await sends()) - before;
  expect(made).toBeGreaterThanOrEqual(100);
  // Those that were under way, and no more.
  expect(made).toBeLessThan(100 + 100);
  await holdIsOver();
  await expect(push(other, id, { userIds }, 2)).resolves.toMatchObject({ status: 'done', result: { sent: 500 - (made - 1), alreadySent: made - 1 } });
  const arrived = (await servers.fakes.effects({ service: 'fcm', kind: 'push' })).map(({ key }) => key);
  expect([arrived.length, new Set(arrived).size]).toEqual([500, 500]);
}, 60_000);

test.each<[string, Action]>([
  ['an access token that is refused', { status: 401 }],
  ['a service account without the permission', { status: 403, body: '{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}' }],
])('D-09: %s raises the alarm and holds pushes for a minute, until one is sent; no job dies', async (_name, action) => {
  expect(await unauthorized(one)).toBeUndefined();
  const script = await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action }]);
  await expect(push(one, randomUUID(), toToken())).rejects.toMatchObject({ name: 'RetryLater', code: 'channel_unauthorized' });
  expect(await unauthorized(one)).toBe(1);
  expect(await heldSeconds()).toBeGreaterThan(50);
  const before = await sends();
  for (let job = 0; job < 20; job += 1)
    await expect(push(job % 2 === 0 ? one : other, randomUUID(), toToken())).rejects.toMatchObject({ code: 'channel_held' });
  expect((await sends()) - before).toBe(0);
  await script.remove();
  await world.database.query('DELETE FROM backhaul.channel_holds');
  // A second later at most the worker looks again.
  await expect
    .poll(() => push(one, randomUUID(), toToken()).catch((error: unknown) => error), { timeout: 5_000, interval: 200 })
    .toMatchObject({ status: 'done' });
  expect(await unauthorized(one)).toBe(0);
});

test('an expired APNs key stops the iPhones, and no Android device', async () => {
  const devices = createDeviceTokens(world.database);
  const userId = randomUUID();
  await devices.register({ token: `ios:${userId}`, userId, platform: 'ios' });
  await devices.register({ token: `android:${userId}`, userId, platform: 'android' });
  await servers.fakes.script('fcm', [{ match: { token: `ios:${userId}` }, action: { code: 'THIRD_PARTY_AUTH_ERROR' } }]);
  await expect(push(one, randomUUID(), { userId })).rejects.toMatchObject({ name: 'RetryLater', code: 'platform_unauthorized' });
  expect((await servers.fakes.effects({ service: 'fcm', kind: 'push' })).map(({ key }) => key)).toEqual([`android:${userId}`]);
  expect(await heldSeconds()).toBeUndefined();
  await expect(push(one, randomUUID(), toToken())).resolves.toMatchObject({ status: 'done' });
});
