import { TimedOut } from '@backhaul/queue/job';
import { expect, test } from 'vitest';
import { memoryPorts, testContext } from '../memory-ports.ts';
import type { Delivery } from '../ports.ts';
import type { PushDevice } from './devices.ts';
import { sendPushHandler } from './handler.ts';

const text = { type: 'push', title: 'Family', body: 'Dinner?' } as const;
const device = (userId: string, name: string, suspectMessageId: string | null = null): PushDevice => ({ token: `${userId}-${name}`, userId, suspectMessageId });
const gone: Delivery = { outcome: 'refused', about: 'recipient', code: 'unregistered', detail: 'gone' };
const away: Delivery = { outcome: 'unavailable', detail: '503' };

/** Ports with devices, whose sends are answered by token; `sent` where nothing is given. */
function world(devices: readonly PushDevice[], answers: Record<string, Delivery[]> = {}) {
  const made = memoryPorts();
  made.devices.push(...devices);
  const { ports } = made;
  const push = {
    async send(...[message, signal]: Parameters<typeof ports.push.send>): Promise<Delivery> {
      const plain = await ports.push.send(message, signal);
      return answers[message.token]?.shift() ?? plain;
    },
  };
  return { ...made, ports: { ...ports, push } };
}

test('a push to a user goes to each of their devices, under keys of their own, and has one row', async () => {
  const { ports, pushes, effects, records } = world([device('ann', 'phone'), device('ann', 'tablet'), device('bob', 'phone')]);
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext(ports))).resolves.toEqual({
    status: 'done',
    result: { channel: 'push', users: 1, sent: 2, alreadySent: 0, refused: {} },
  });
  expect(pushes.map(({ token }) => token)).toEqual(['ann-phone', 'ann-tablet']);
  expect(new Set(pushes.map(({ collapseKey }) => collapseKey)).size).toBe(2);
  expect([...effects.rows.values()].map(({ state }) => state)).toEqual(['confirmed', 'confirmed']);
  expect(records).toEqual([{ messageId: 'message-1', channel: 'push', userId: 'ann', title: 'Family', body: 'Dinner?', success: true }]);
});

test('a push with a token goes to that device alone, whatever else the user has', async () => {
  const { ports, pushes } = world([device('ann', 'phone'), device('ann', 'tablet')]);
  await sendPushHandler({ ...text, userId: 'ann', fcmToken: 'another' }, testContext(ports));
  expect(pushes.map(({ token }) => token)).toEqual(['another']);
});

test('a user without a device is skipped, with a row that says that nothing was sent', async () => {
  const { ports, pushes, records } = world([device('bob', 'phone')]);
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext(ports))).resolves.toMatchObject({ status: 'skipped', reason: 'no_devices' });
  expect(pushes).toEqual([]);
  expect(records).toMatchObject([{ userId: 'ann', success: false }]);
});

test('users who are named twice get it once, and each has a row', async () => {
  const { ports, pushes, records } = world([device('ann', 'phone'), device('bob', 'phone')]);
  await sendPushHandler({ ...text, userIds: ['ann', 'bob', 'ann', 'cem'] }, testContext(ports));
  expect(pushes).toHaveLength(2);
  expect(records.map(({ userId, success }) => [userId, success])).toEqual([
    ['ann', true],
    ['bob', true],
    ['cem', false],
  ]);
});

test('a device that is gone stops nobody else, and the result says so', async () => {
  const { ports, records, heard } = world([device('ann', 'old'), device('ann', 'new'), device('bob', 'old')], { 'ann-old': [gone], 'bob-old': [gone] });
  await expect(sendPushHandler({ ...text, userIds: ['ann', 'bob'] }, testContext(ports))).resolves.toMatchObject({
    result: { sent: 1, refused: { unregistered: 2 } },
  });
  expect(records.map(({ userId, success }) => [userId, success])).toEqual([
    ['ann', true],
    ['bob', false],
  ]);
  expect(heard.map(({ token, says }) => [token, says])).toEqual([
    ['ann-old', 'gone'],
    ['ann-new', 'reached'],
    ['bob-old', 'gone'],
  ]);
});

test('the job is a dead letter only when every device was refused', async () => {
  const { ports, records } = world([device('ann', 'a'), device('ann', 'b')], { 'ann-a': [gone], 'ann-b': [gone] });
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext(ports))).rejects.toMatchObject({ name: 'PermanentFailure', code: 'unregistered' });
  expect(records.every(({ success }) => !success)).toBe(true);
  const mixed = world([device('ann', 'a'), device('ann', 'b')], {
    'ann-a': [gone],
    'ann-b': [{ outcome: 'refused', about: 'message', code: 'invalid_payload', detail: 'bad key' }],
  });
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext(mixed.ports))).rejects.toMatchObject({
    code: 'all_refused',
    message: 'every device was refused: 1 × invalid_payload, 1 × unregistered',
  });
  // A message that was refused says nothing about the token.
  expect(mixed.heard.map(({ token }) => token)).toEqual(['ann-a']);
});

test('a retry sends only to those that did not get it, and not again where it was refused', async () => {
  const { ports, pushes, devices, records } = world([device('ann', 'a'), device('ann', 'b'), device('bob', 'c'), device('bob', 'd')], {
    'ann-b': [away],
    'bob-c': [gone],
    'bob-d': [away],
  });
  const payload = { ...text, userIds: ['ann', 'bob'] };
  await expect(sendPushHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'provider_unavailable' });
  // Bob's push is still under way: no row yet.
  expect(records.map(({ userId, success }) => [userId, success])).toEqual([['ann', true]]);
  devices[2] = device('bob', 'c', 'message-1');
  pushes.length = 0;
  await expect(sendPushHandler(payload, testContext(ports, { attempt: 2 }))).resolves.toMatchObject({
    result: { sent: 2, alreadySent: 1, refused: { unregistered: 1 } },
  });
  expect(pushes.map(({ token }) => token)).toEqual(['ann-b', 'bob-d']);
  expect(records.slice(1).map(({ userId, success }) => [userId, success])).toEqual([
    ['ann', true],
    ['bob', true],
  ]);
});

test('waiting goes before failing: what a provider put off uses up no try', async () => {
  const { ports } = world([device('ann', 'a'), device('ann', 'b'), device('ann', 'c')], {
    'ann-a': [away],
    'ann-b': [{ outcome: 'deferred', code: 'provider_busy', detail: '503', retryAfterMs: 5_000 }],
    'ann-c': [{ outcome: 'deferred', code: 'provider_busy', detail: '503', retryAfterMs: 7_000 }],
  });
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext(ports))).rejects.toMatchObject({
    name: 'RetryLater',
    code: 'provider_busy',
    delayMs: 7_000,
    message: expect.stringContaining('0 sent, 0 refused, 3 open') as string,
  });
});

test('refused credentials end the run with the requests that are under way: the other thousands are not made', async () => {
  const unauthorized: Delivery = { outcome: 'unauthorized', detail: '401' };
  const many = Array.from({ length: 1_000 }, (_, index) => device(`user-${index}`, 'phone'));
  const { ports, pushes, effects, records } = world(many, Object.fromEntries(many.map(({ token }) => [token, [unauthorized]])));
  const payload = { ...text, userIds: many.map(({ userId }) => userId) };
  await expect(sendPushHandler(payload, testContext(ports, { lastTry: true }))).rejects.toMatchObject({ name: 'RetryLater', code: 'channel_unauthorized' });
  expect(pushes.length).toBeLessThanOrEqual(100);
  expect([effects.rows.size, records.length]).toEqual([0, 0]);
});

test('without the channel the job is a dead letter at once', async () => {
  const { ports, pushes, records } = world([device('ann', 'a'), device('bob', 'b')], { 'ann-a': [{ outcome: 'unconfigured', detail: 'set it' }] });
  await expect(sendPushHandler({ ...text, userIds: ['ann', 'bob'] }, testContext(ports))).rejects.toMatchObject({
    name: 'PermanentFailure',
    code: 'channel_not_configured',
  });
  expect(pushes.length).toBeLessThanOrEqual(2);
  expect(records).toContainEqual(expect.objectContaining({ userId: 'ann', success: false }));
});

test('a ledger that is away stops the run and uses up no try', async () => {
  const many = Array.from({ length: 1_000 }, (_, index) => device('ann', `${index}`));
  const { ports, pushes } = world(many);
  let asked = 0;
  const effects = {
    ...ports.effects,
    claim() {
      asked += 1;
      return Promise.reject(Object.assign(new Error('the database is not available'), { code: 'database_unavailable' }));
    },
  };
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext({ ...ports, effects }, { lastTry: true }))).rejects.toMatchObject({
    name: 'RetryLater',
    code: 'database_unavailable',
  });
  expect(pushes).toEqual([]);
  expect(asked).toBeLessThanOrEqual(100);
});

test('no more than 100 sends are under way at once, however many devices there are', async () => {
  const many = Array.from({ length: 1_500 }, (_, index) => device(`user-${index % 700}`, `${index}`));
  const { ports } = world(many);
  let running = 0;
  let most = 0;
  const push = {
    async send() {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 2));
      running -= 1;
      return { outcome: 'sent', providerId: null } as const;
    },
  };
  const payload = { ...text, userIds: Array.from({ length: 700 }, (_, index) => `user-${index}`) };
  await expect(sendPushHandler(payload, testContext({ ...ports, push }))).resolves.toMatchObject({ result: { sent: 1_500, users: 700 } });
  expect(most).toBe(100);
});

test('after the last try users whom nothing reached have a failed row, and those who were reached keep theirs', async () => {
  const { ports, records } = world([device('ann', 'a'), device('bob', 'b')], { 'bob-b': [away] });
  const payload = { ...text, userIds: ['ann', 'bob'] };
  await expect(sendPushHandler(payload, testContext(ports, { lastTry: true }))).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(records.at(-1)).toMatchObject({ userId: 'bob', success: false });
  expect(records.filter(({ userId }) => userId === 'ann').every(({ success }) => success)).toBe(true);
});

test('a run that is stopped before it sends leaves the devices to the next', async () => {
  const { ports, pushes, records } = world([device('ann', 'a')]);
  const signal = AbortSignal.abort(new Error('stopping'));
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext(ports, { lastTry: true, signal }))).rejects.toMatchObject({
    code: 'provider_unavailable',
  });
  expect([pushes, records]).toEqual([[], []]);
  const late = AbortSignal.abort(new TimedOut(30_000));
  await expect(sendPushHandler({ ...text, userId: 'ann' }, testContext(ports, { lastTry: true, signal: late }))).rejects.toThrow();
  expect(records).toMatchObject([{ userId: 'ann', success: false }]);
});

test('a push that is too large is refused before a device is looked up, and every user has a failed row', async () => {
  const { ports, pushes, records } = world([device('ann', 'a')]);
  await expect(sendPushHandler({ ...text, userIds: ['ann', 'bob'], body: 'x'.repeat(5_000) }, testContext(ports))).rejects.toMatchObject({
    code: 'payload_too_large',
  });
  expect(pushes).toEqual([]);
  expect(records.map(({ userId, success }) => [userId, success])).toEqual([
    ['ann', false],
    ['bob', false],
  ]);
});
