import { randomUUID } from 'node:crypto';
import { type DeviceTokens, createDeviceTokens } from '@backhaul/database';
import { notificationHandlers } from '@backhaul/jobs/notification';
import { type Metrics, createMetrics, silentLogger } from '@backhaul/runtime';
import { eventually } from '@backhaul/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

let servers: TestChannels;
let world: Awaited<ReturnType<typeof createTestDatabase>>;
let devices: DeviceTokens;
let ports: ReturnType<typeof createPorts>;
let metrics: Metrics;
/** What the worker logged as an error. */
let errors: string[];

beforeAll(async () => {
  servers = await startTestChannels();
  world = await createTestDatabase();
  devices = createDeviceTokens(world.database);
}, 60_000);
afterAll(async () => {
  await servers.close();
  await world.close();
});
beforeEach(async () => {
  await servers.fakes.reset();
  // A worker of its own: what it heard within the last minute decides what it believes.
  errors = [];
  metrics = createMetrics('test');
  const log = { ...silentLogger, error: (message: string) => void errors.push(message) };
  ports = createPorts({ channels: await servers.channels(), database: world.database, log, metrics });
});

const hour = 3_600_000;
async function someDevice(): Promise<{ token: string; userId: string }> {
  const device = { token: `token-${randomUUID()}`, userId: randomUUID() };
  await devices.register({ ...device, platform: 'android' });
  return device;
}
const push = (to: { userId: string; fcmToken?: string } | { userIds: string[] }, messageId: string = randomUUID(), attempt = 1) =>
  notificationHandlers['notification.send-push'](
    { type: 'push', title: 'Family', body: 'Dinner?', ...to },
    { ports, signal: new AbortController().signal, log: silentLogger, messageId, attempt, lastTry: false, progress() {} },
  );
const refuse = (token: string, code: string) => servers.fakes.script('fcm', [{ match: { token }, action: { code } }]);
const sends = async () => (await servers.fakes.traffic()).fcm.requests['send'] ?? 0;
const rowOf = async (userId: string) => (await devices.ofUsers([userId]))[0];
/** Lets hours pass for every token. */
const pass = (hours: number) =>
  world.database.query(
    `UPDATE backhaul.device_tokens SET suspect_since = suspect_since - $1 * interval '1 hour', last_seen_at = last_seen_at - $1 * interval '1 hour'`,
    [hours],
  );
const paused = async () => (await metrics.registry.getSingleMetric('backhaul_push_token_pruning_paused')?.get())?.values[0]?.value;

test.each(['UNREGISTERED', 'INVALID_ARGUMENT', 'SENDER_ID_MISMATCH'])(
  'a token that is refused with %s is on probation, and deleted when it is a day later',
  async (code) => {
    const { token, userId } = await someDevice();
    await refuse(token, code);
    await expect(push({ userId })).rejects.toMatchObject({ name: 'PermanentFailure' });
    expect((await rowOf(userId))?.suspectSince).toBeInstanceOf(Date);
    await pass(23);
    await expect(push({ userId })).rejects.toMatchObject({ name: 'PermanentFailure' });
    expect(await rowOf(userId)).toBeDefined();
    await pass(2);
    await expect(push({ userId })).rejects.toMatchObject({ name: 'PermanentFailure' });
    expect(await rowOf(userId)).toBeUndefined();
    await expect(push({ userId })).resolves.toMatchObject({ status: 'skipped', reason: 'no_devices' });
  },
);

test('a push to the token itself counts as well', async () => {
  const { token, userId } = await someDevice();
  await refuse(token, 'UNREGISTERED');
  await expect(push({ userId, fcmToken: token })).rejects.toMatchObject({ code: 'unregistered' });
  await pass(25);
  await expect(push({ userId, fcmToken: token })).rejects.toMatchObject({ code: 'unregistered' });
  expect(await rowOf(userId)).toBeUndefined();
});

test('D-14: what is said of the message, of us or of FCM is nothing about the token', async () => {
  const { token, userId } = await someDevice();
  const answers = [
    { status: 400, body: '{"error":{"code":400,"message":"Invalid data payload key: from","status":"INVALID_ARGUMENT","details":[]}}' },
    { code: 'INTERNAL' },
    { code: 'UNAVAILABLE' },
    { code: 'THIRD_PARTY_AUTH_ERROR' },
    { reset: true as const },
  ];
  for (const action of answers) {
    const script = await servers.fakes.script('fcm', [{ match: { token }, action }]);
    await expect(push({ userId })).rejects.toThrow();
    await script.remove();
  }
  expect(await rowOf(userId)).toMatchObject({ suspectSince: null });
});

test('a push that arrives ends the probation', async () => {
  const { token, userId } = await someDevice();
  const script = await refuse(token, 'UNREGISTERED');
  await expect(push({ userId })).rejects.toThrow();
  await script.remove();
  await pass(48);
  await expect(push({ userId })).resolves.toMatchObject({ status: 'done' });
  expect(await rowOf(userId)).toMatchObject({ suspectSince: null });
});

test('a push to the token itself that arrives ends the probation as well, and at the latest when the worker stops', async () => {
  const { token, userId } = await someDevice();
  const script = await refuse(token, 'UNREGISTERED');
  await expect(push({ userId, fcmToken: token })).rejects.toThrow();
  await script.remove();
  await pass(48);
  await expect(push({ userId, fcmToken: token })).resolves.toMatchObject({ status: 'done' });
  await eventually(async () => expect(await rowOf(userId)).toMatchObject({ suspectSince: null }));
  await refuse(token, 'UNREGISTERED');
  await expect(push({ userId, fcmToken: token })).rejects.toThrow();
  expect(await rowOf(userId)).toMatchObject({ suspectSince: expect.any(Date) as Date });
  await servers.fakes.reset();
  await push({ userId, fcmToken: token });
  await ports.devices.close();
  expect(await rowOf(userId)).toMatchObject({ suspectSince: null });
});

test('a token that is called gone right after a push to it arrived begins its probation anew', async () => {
  const { token, userId } = await someDevice();
  const script = await refuse(token, 'UNREGISTERED');
  await expect(push({ userId, fcmToken: token })).rejects.toThrow();
  await script.remove();
  await pass(48);
  await push({ userId, fcmToken: token });
  await refuse(token, 'UNREGISTERED');
  await expect(push({ userId, fcmToken: token })).rejects.toThrow();
  const since = (await rowOf(userId))?.suspectSince?.getTime() ?? 0;
  expect(Date.now() - since).toBeLessThan(hour);
});

test('pushes to tokens that events name cost no statement each to know of their probation', async () => {
  let statements = 0;
  const query: typeof world.database.query = (text, ...rest) => {
    if (text.includes('backhaul.device_tokens')) statements += 1;
    return world.database.query(text, ...rest);
  };
  const { token, userId } = await someDevice();
  await refuse(token, 'UNREGISTERED');
  await expect(push({ userId })).rejects.toThrow();
  await servers.fakes.reset();
  ports = createPorts({ channels: await servers.channels(), database: { ...world.database, query }, log: silentLogger, metrics: createMetrics('test') });
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: 20 }, (_, index) => push({ userId, fcmToken: index === 0 ? token : `unknown-${round}-${index}` })));
  }
  await ports.devices.close();
  expect(await rowOf(userId)).toMatchObject({ suspectSince: null });
  // One within two seconds, and the last.
  expect(statements).toBeLessThan(10);
});

test('D-13: a token that is registered again while FCM calls it gone is kept', async () => {
  const { token, userId } = await someDevice();
  await refuse(token, 'UNREGISTERED');
  await expect(push({ userId })).rejects.toThrow();
  await pass(48);
  await servers.fakes.reset();
  await servers.fakes.script('fcm', [{ match: { token }, action: { code: 'UNREGISTERED', delayMs: 400 } }]);
  const before = await sends();
  const running = push({ userId }).catch((error: unknown) => error);
  await eventually(async () => expect(await sends()).toBe(before + 1));
  await devices.register({ token, userId, platform: 'android' });
  expect(await running).toMatchObject({ code: 'unregistered' });
  expect(await rowOf(userId)).toMatchObject({ suspectSince: null });
});

test('when FCM calls a fifth of all tokens gone none of them is believed, an error says so', async () => {
  const many = await Promise.all(Array.from({ length: 60 }, someDevice));
  const { rowCount } = await world.database.query(
    `UPDATE backhaul.device_tokens SET suspect_since = now() - interval '2 days', last_seen_at = now() - interval '3 days'`,
  );
  expect(rowCount).toBeGreaterThanOrEqual(60);
  await servers.fakes.script(
    'fcm',
    many.slice(0, 25).map(({ token }) => ({ match: { token }, action: { code: 'UNREGISTERED' } })),
  );
  expect(await paused()).toBe(0);
  await expect(push({ userIds: many.map(({ userId }) => userId) })).resolves.toMatchObject({ result: { sent: 35, refused: { unregistered: 25 } } });
  expect(await devices.ofUsers(many.map(({ userId }) => userId))).toHaveLength(60);
  expect(await paused()).toBe(1);
  expect(errors.filter((message) => message.includes('too many tokens'))).toHaveLength(1);
});

test('nineteen of a hundred are believed', async () => {
  const many = await Promise.all(Array.from({ length: 100 }, someDevice));
  await world.database.query(`UPDATE backhaul.device_tokens SET suspect_since = now() - interval '2 days', last_seen_at = now() - interval '3 days'`);
  await servers.fakes.script(
    'fcm',
    many.slice(0, 19).map(({ token }) => ({ match: { token }, action: { code: 'UNREGISTERED' } })),
  );
  await push({ userIds: many.map(({ userId }) => userId) });
  expect(await devices.ofUsers(many.map(({ userId }) => userId))).toHaveLength(81);
  expect([await paused(), errors]).toEqual([0, []]);
});

/** Nobody knows whether it was sent. Lost twice, the message is given up for that device. */
const isLost = (said: string) => said === 'loseReply' || said === 'reset';

/** What happens to one device in the property below. */
const answer = fc.constantFrom('sent', 'UNREGISTERED', 'INTERNAL', 'loseReply', 'reset');
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constant('push' as const),
      tries: fc.integer({ min: 1, max: 3 }),
      answers: fc.array(answer, { minLength: 3, maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('pass' as const), hours: fc.constantFrom(1, 12, 23, 25, 49) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('register' as const), device: fc.integer({ min: 0, max: 2 }) }) },
);

test('whatever is answered and however often it is tried, each device has one confirmed send per message, and each token the fate of its answers', async () => {
  // Without the pause, which is looked at above: here all devices may be gone.
  const channels = await servers.channels({ PUSH_MAX_GONE_PERCENT: '100' });
  ports = createPorts({ channels, database: world.database, log: silentLogger, metrics: createMetrics('test') });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      await servers.fakes.reset();
      const userId = randomUUID();
      const tokens = [0, 1, 2].map((number) => `${number}:${userId}`);
      const register = (number: number) => devices.register({ token: tokens[number] ?? '', userId, platform: 'ios' });
      for (const number of [0, 1, 2]) await register(number);
      /** Hours since each token was first called gone; null when it is not suspected, undefined once it is deleted. */
      const model: (number | null | undefined)[] = [null, null, null];
      for (const each of steps) {
        if (each.does === 'pass') {
          await pass(each.hours);
          for (const [number, since] of model.entries()) if (typeof since === 'number') model[number] = since + each.hours;
        } else if (each.does === 'register') {
          await register(each.device);
          model[each.device] = null;
        } else {
          const id = randomUUID();
          const confirmed = new Set<number>();
          for (let attempt = 1; attempt <= each.tries; attempt += 1) {
            const script = await servers.fakes.script(
              'fcm',
              tokens.flatMap((token, number) => {
                const said = each.answers[number] ?? 'sent';
                // The last try gets through where the provider was at fault.
                if (said === 'sent' || (attempt === each.tries && said !== 'UNREGISTERED')) return [];
                return [
                  {
                    match: { token },
                    action: said === 'loseReply' ? { loseReply: true as const } : said === 'reset' ? { reset: true as const } : { code: said },
                  },
                ];
              }),
            );
            await push({ userId }, id, attempt).catch((error: unknown) =>
              expect(error).toMatchObject({
                code: expect.stringMatching(/^(provider_unavailable|delivery_ambiguous|delivery_unknown|unregistered|all_refused)$/) as string,
              }),
            );
            await script.remove();
            await world.database.query(`UPDATE backhaul.effects SET lease_until = now() - interval '1 second' WHERE message_id = $1`, [id]);
            for (const [number, said] of each.answers.entries()) {
              if (model[number] === undefined) continue;
              if (said === 'UNREGISTERED') {
                // A message counts once: later tries of it do not ask again.
                if (attempt === 1) model[number] = (model[number] ?? 0) >= 24 ? undefined : (model[number] ?? 0);
              } else if (said === 'sent' || (attempt === each.tries && !(isLost(said) && attempt === 3))) {
                confirmed.add(number);
                model[number] = null;
              }
            }
          }
          const { rows } = await world.database.query<{ state: string }>(
            'SELECT state FROM backhaul.effects WHERE message_id = $1 AND effect_key NOT LIKE $2',
            [id, '%:resend'],
          );
          expect(rows.filter(({ state }) => state === 'confirmed')).toHaveLength(confirmed.size);
          const sends = await servers.fakes.effects({ service: 'fcm', kind: 'push' });
          for (const [number, token] of tokens.entries()) {
            // A lost reply is followed by one resend, which shows as the same push.
            const most = each.answers[number] === 'loseReply' ? 2 : 1;
            const mine = sends.filter((effect) => effect.key === token);
            expect(mine.length).toBeLessThanOrEqual(most);
            expect(new Set(mine.map((effect) => (effect['message'] as { android: { collapse_key: string } }).android.collapse_key)).size).toBeLessThanOrEqual(
              1,
            );
          }
          await servers.fakes.reset();
        }
        const rows = await devices.ofUsers([userId]);
        for (const [number, token] of tokens.entries()) {
          const row = rows.find((one) => one.token === token);
          const since = model[number];
          expect(row === undefined ? 'deleted' : row.suspectSince === null ? 'trusted' : 'suspect').toBe(
            since === undefined ? 'deleted' : since === null ? 'trusted' : 'suspect',
          );
          if (typeof since === 'number') expect(Math.abs(Date.now() - (row?.suspectSince?.getTime() ?? 0) - since * hour)).toBeLessThan(120_000);
        }
      }
    }),
    { numRuns: 25, endOnFailure: true },
  );
}, 120_000);
