import { randomUUID } from 'node:crypto';
import { eventually } from '@backhaul/testing';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DeviceTokens, createDeviceTokens } from './device-tokens.ts';

let world: TestDatabase;
let devices: DeviceTokens;
beforeAll(async () => {
  world = await testDatabase();
  devices = createDeviceTokens(world.database);
});
afterAll(() => world.close());

const DAY_MS = 86_400_000;
const someDevice = (changes: object = {}) => ({ token: `token-${randomUUID()}`, userId: randomUUID(), platform: 'android' as const, ...changes });
const rowOf = async (userId: string) => (await devices.ofUsers([userId]))[0];
/** Moves a time of the token into the past. */
const age = (token: string, column: 'suspect_since' | 'last_seen_at', byMs: number) =>
  world.database.query(`UPDATE backhaul.device_tokens SET ${column} = ${column} - $2 * interval '1 millisecond' WHERE token = $1`, [token, byMs]);
const gone = (token: string, { sentMsAgo = 0, messageId = 'm-1' } = {}) => devices.gone([{ token, messageId, sentMsAgo }], { probationMs: DAY_MS });

test('A token belongs to who registered it last', async () => {
  const device = someDevice({ locale: 'de', sessionId: 's-1' });
  const first = await devices.register(device);
  const second = await devices.register({ ...device, appVersion: '2', locale: undefined });
  expect(second).toMatchObject({ appVersion: '2', locale: null, registeredAt: first.registeredAt });
  expect(second.lastSeenAt.getTime()).toBeGreaterThanOrEqual(first.lastSeenAt.getTime());
  const other = randomUUID();
  await devices.register({ ...device, userId: other });
  expect(await devices.ofUsers([device.userId])).toEqual([]);
  expect(await rowOf(other)).toMatchObject({ token: device.token, userId: other, sessionId: 's-1' });
});

test('Twenty registrations of one token at the same moment leave one device', async () => {
  const device = someDevice();
  await Promise.all(Array.from({ length: 20 }, (_, index) => devices.register({ ...device, appVersion: String(index) })));
  expect(await devices.ofUsers([device.userId])).toHaveLength(1);
});

test('A token of 4,096 characters can be kept and found', async () => {
  const device = someDevice({ token: `${randomUUID()}${'\u{1F511}x'.repeat(1_300)}` });
  await devices.register(device);
  expect((await rowOf(device.userId))?.token).toBe(device.token);
  expect(await devices.unregister({ token: device.token })).toBe(1);
});

test('The devices of ten thousand users are found in one statement', async () => {
  await world.database.query(
    `INSERT INTO backhaul.device_tokens (token_hash, token, user_id, platform)
     SELECT sha256(convert_to('many-' || n, 'UTF8')), 'many-' || n, 'many-' || n / 2, 'ios' FROM generate_series(0, 19999) n`,
  );
  const found = await devices.ofUsers(Array.from({ length: 10_000 }, (_, index) => `many-${index}`));
  expect([found.length, new Set(found.map(({ token }) => token)).size]).toEqual([20_000, 20_000]);
});

test('The first "gone" puts a token on probation, and a second one within a day changes nothing', async () => {
  const device = someDevice();
  await devices.register(device);
  expect(await gone(device.token)).toEqual({ suspected: 1, deleted: 0 });
  const first = await rowOf(device.userId);
  expect(first).toMatchObject({ suspectSince: expect.any(Date) as Date, suspectMessageId: 'm-1' });
  await age(device.token, 'suspect_since', DAY_MS - 60_000);
  await age(device.token, 'last_seen_at', DAY_MS);
  expect(await gone(device.token, { messageId: 'm-2' })).toEqual({ suspected: 1, deleted: 0 });
  expect((await rowOf(device.userId))?.suspectSince?.getTime()).toBe((first?.suspectSince?.getTime() ?? 0) - DAY_MS + 60_000);
  expect(await rowOf(device.userId)).toMatchObject({ suspectMessageId: 'm-2' });
});

test('A further "gone" a day after the first deletes it', async () => {
  const device = someDevice();
  await devices.register(device);
  await gone(device.token);
  await age(device.token, 'suspect_since', DAY_MS + 1_000);
  expect(await gone(device.token)).toEqual({ suspected: 0, deleted: 1 });
  expect(await devices.ofUsers([device.userId])).toEqual([]);
});

test('A push that arrived ends the probation', async () => {
  const device = someDevice();
  await devices.register(device);
  await gone(device.token);
  await age(device.token, 'suspect_since', 2 * DAY_MS);
  await devices.reached([device.token]);
  expect(await gone(device.token)).toEqual({ suspected: 1, deleted: 0 });
});

test('D-13: a token that was registered again after the send began is neither deleted nor suspected', async () => {
  const device = someDevice();
  await devices.register(device);
  await gone(device.token);
  await age(device.token, 'suspect_since', 2 * DAY_MS);
  // The send began a minute ago; the app registered just now.
  await devices.register(device);
  expect(await gone(device.token, { sentMsAgo: 60_000 })).toEqual({ suspected: 0, deleted: 0 });
  expect(await rowOf(device.userId)).toMatchObject({ suspectSince: null });
  await age(device.token, 'last_seen_at', 61_000);
  expect(await gone(device.token, { sentMsAgo: 60_000 })).toEqual({ suspected: 1, deleted: 0 });
});

test('D-13: a registration that is under way when the verdict comes is waited for, and wins', async () => {
  const device = someDevice();
  await devices.register(device);
  await gone(device.token);
  await age(device.token, 'suspect_since', 2 * DAY_MS);
  await age(device.token, 'last_seen_at', 3 * DAY_MS);
  let verdict: Promise<unknown> = Promise.resolve();
  await world.database.transaction(async (client) => {
    await createDeviceTokens({ ...world.database, query: (sql, values) => client.query(sql, values) }).register(device);
    verdict = gone(device.token, { sentMsAgo: 1_000 });
    await eventually(async () => {
      const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      expect((await world.database.query(waiting)).rowCount).toBe(1);
    });
  });
  expect(await verdict).toEqual({ suspected: 0, deleted: 0 });
  expect(await rowOf(device.userId)).toMatchObject({ token: device.token, suspectSince: null });
});

test('What is said of tokens that nobody registered changes nothing', async () => {
  expect(await gone(`token-${randomUUID()}`)).toEqual({ suspected: 0, deleted: 0 });
  await devices.reached([`token-${randomUUID()}`]);
});
