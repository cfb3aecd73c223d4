import { randomUUID } from 'node:crypto';
import { type DeviceTokens, createDeviceTokens } from '@backhaul/database';
import { type NotificationPorts, notificationHandlers } from '@backhaul/jobs/notification';
import { createMetrics, silentLogger } from '@backhaul/runtime';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

let servers: TestChannels;
let world: Awaited<ReturnType<typeof createTestDatabase>>;
let ports: NotificationPorts;
let devices: DeviceTokens;

beforeAll(async () => {
  servers = await startTestChannels();
  world = await createTestDatabase();
  devices = createDeviceTokens(world.database);
  ports = createPorts({ channels: await servers.channels(), database: world.database, log: silentLogger, metrics: createMetrics('test') });
}, 60_000);
afterAll(async () => {
  await servers.close();
  await world.close();
});
beforeEach(() => servers.fakes.reset());

/** A user with devices of these names; tokens are `<name>:<user>`. */
async function someUser(...names: string[]): Promise<string> {
  const userId = randomUUID();
  for (const name of names) await devices.register({ token: `${name}:${userId}`, userId, platform: 'android' });
  return userId;
}
const push = (messageId: string, to: { userId: string } | { userIds: string[] }, changes: { attempt?: number; lastTry?: boolean } = {}) =>
  notificationHandlers['notification.send-push'](
    { type: 'push', title: messageId, body: 'Dinner?', ...to },
    { ports, signal: new AbortController().signal, log: silentLogger, messageId, attempt: 1, lastTry: false, progress() {}, ...changes },
  );
const arrived = async () => (await servers.fakes.effects({ service: 'fcm', kind: 'push' })).map(({ key }) => key).toSorted();
const sends = async () => (await servers.fakes.traffic()).fcm.requests['send'] ?? 0;
/** The rows that one message has in `notifications`, by user. */
const rows = async (title: string) =>
  Object.fromEntries(
    (await world.database.query<{ user_id: string; success: boolean }>('SELECT user_id, success FROM notifications WHERE title = $1', [title])).rows.map(
      (row) => [row.user_id, row.success],
    ),
  );

test('a push to users reaches each device once, however often the job runs, and each user has one row', async () => {
  const [ann, bob, none] = [await someUser('phone', 'tablet'), await someUser('phone'), await someUser()];
  const id = randomUUID();
  for (let run = 1; run <= 3; run += 1) {
    await expect(push(id, { userIds: [ann, bob, none, ann] }, { attempt: run })).resolves.toMatchObject({
      status: 'done',
      result: { users: 3, sent: run === 1 ? 3 : 0, alreadySent: run === 1 ? 0 : 3 },
    });
  }
  expect(await arrived()).toEqual([`phone:${ann}`, `phone:${bob}`, `tablet:${ann}`].toSorted());
  expect(await rows(id)).toEqual({ [ann]: true, [bob]: true, [none]: false });
});

test('a retry sends only to the device that did not get it', async () => {
  const ann = await someUser('a', 'b', 'c');
  const id = randomUUID();
  await servers.fakes.script('fcm', [{ match: { token: `b:${ann}` }, times: 1, action: { code: 'INTERNAL' } }]);
  await expect(push(id, { userId: ann })).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(await arrived()).toEqual([`a:${ann}`, `c:${ann}`]);
  const before = await sends();
  await expect(push(id, { userId: ann }, { attempt: 2 })).resolves.toMatchObject({ result: { sent: 1, alreadySent: 2 } });
  expect(await arrived()).toEqual([`a:${ann}`, `b:${ann}`, `c:${ann}`]);
  expect((await sends()) - before).toBe(1);
});

test('a device that is gone does not fail the others, and this message asks for it once', async () => {
  const [ann, bob] = [await someUser('old', 'new'), await someUser('new')];
  const id = randomUUID();
  await servers.fakes.script('fcm', [
    { match: { token: `old:${ann}` }, action: { code: 'UNREGISTERED' } },
    { match: { token: `new:${bob}` }, times: 1, action: { code: 'UNAVAILABLE' } },
  ]);
  await expect(push(id, { userIds: [ann, bob] })).rejects.toMatchObject({ code: 'provider_unavailable' });
  const before = await sends();
  await expect(push(id, { userIds: [ann, bob] }, { attempt: 2 })).resolves.toMatchObject({
    result: { sent: 1, alreadySent: 1, refused: { unregistered: 1 } },
  });
  expect((await sends()) - before).toBe(1);
  expect(await rows(id)).toEqual({ [ann]: true, [bob]: true });
});

test('one user id that the table refuses costs its own row and no other', async () => {
  const ann = await someUser('phone');
  const id = randomUUID();
  await devices.register({ token: `phone:${id}`, userId: `not-a-uuid-${id}`, platform: 'ios' });
  await expect(push(id, { userIds: [`not-a-uuid-${id}`, ann] })).resolves.toMatchObject({ result: { sent: 2 } });
  expect(await rows(id)).toEqual({ [ann]: true });
});

test('ten thousand users are asked for, and the devices that they have reached once each, in as many runs as it takes', async () => {
  const id = randomUUID();
  const { rows: users } = await world.database.query<{ user_id: string }>(
    `INSERT INTO backhaul.device_tokens (token_hash, token, user_id, platform)
     SELECT sha256(convert_to('t-' || id, 'UTF8')), 't-' || id, id, 'web' FROM (SELECT gen_random_uuid()::text AS id FROM generate_series(1, 2000)) u RETURNING user_id`,
  );
  // Every fifth has a device, spread over all pages.
  const userIds = users.flatMap((row) => [row.user_id, randomUUID(), randomUUID(), randomUUID(), randomUUID()]);
  let result: unknown;
  for (let attempt = 1; result === undefined && attempt <= 20; attempt += 1) {
    // One at a time, as the queue does.
    result = await push(id, { userIds }, { attempt }).catch((error: unknown) => {
      expect(error).toMatchObject({ name: 'RetryLater', code: 'more_devices' });
      return undefined;
    });
  }
  expect(result).toMatchObject({ status: 'done', result: { users: 10_000 } });
  const reached = await arrived();
  expect([reached.length, new Set(reached).size]).toEqual([2_000, 2_000]);
  const successes = Object.values(await rows(id));
  expect([successes.length, successes.filter(Boolean).length]).toEqual([10_000, 2_000]);
}, 120_000);
