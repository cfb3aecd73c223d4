import { PermanentFailure, RetryLater, TimedOut } from '@backhaul/queue/job';
import { expect, test } from 'vitest';
import { leaseMs } from '../limits.ts';
import { memoryPorts, testContext } from '../memory-ports.ts';
import type { Delivery } from '../ports.ts';
import { sendPushHandler } from './handler.ts';
import { sendPush } from './job.ts';

const payload = { type: 'push', userId: 'user-1', title: 'Family', body: 'Dinner?', fcmToken: 'device-1', data: { chatId: '42' } } as const;
const ambiguous: Delivery = { outcome: 'ambiguous', detail: 'connection reset' };

test('a push is sent once, confirmed in the ledger and logged as a success', async () => {
  const { ports, pushes, records, effects } = memoryPorts();
  await expect(sendPushHandler(payload, testContext(ports))).resolves.toEqual({ status: 'done', result: { channel: 'push', providerId: 'provider-1' } });
  expect(pushes).toEqual([
    { token: 'device-1', title: 'Family', body: 'Dinner?', data: { chatId: '42' }, collapseKey: expect.stringMatching(/^[0-9a-f]{32}$/) as string },
  ]);
  expect([...effects.rows.values()]).toMatchObject([{ state: 'confirmed', providerId: 'provider-1' }]);
  expect(records).toEqual([{ messageId: 'message-1', channel: 'push', userId: 'user-1', title: 'Family', body: 'Dinner?', success: true }]);
});

test('run twice, a push goes out once and the second run says that it was sent already', async () => {
  const { ports, pushes, records } = memoryPorts();
  await sendPushHandler(payload, testContext(ports));
  await expect(sendPushHandler(payload, testContext(ports, { attempt: 2 }))).resolves.toEqual({
    status: 'done',
    result: { channel: 'push', providerId: 'provider-1', alreadySent: true },
  });
  expect(pushes).toHaveLength(1);
  expect(records.map(({ success }) => success)).toEqual([true, true]);
});

test('the ledger key does not hold the device token', async () => {
  const { ports, effects } = memoryPorts();
  await sendPushHandler(payload, testContext(ports));
  expect([...effects.rows.keys()].join()).not.toContain('device-1');
});

test('a push above 4096 bytes is refused before anything is claimed or sent', async () => {
  const { ports, pushes, effects } = memoryPorts();
  const failure = await sendPushHandler({ ...payload, body: 'ü'.repeat(2_100) }, testContext(ports)).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(PermanentFailure);
  expect(failure).toMatchObject({ code: 'payload_too_large' });
  expect([pushes.length, effects.rows.size]).toEqual([0, 0]);
});

test('a push of just 4096 bytes is sent', async () => {
  const { ports, pushes } = memoryPorts();
  const frame = Buffer.byteLength(JSON.stringify({ notification: { title: 'Family', body: '' }, data: { chatId: '42' } }));
  await sendPushHandler({ ...payload, body: 'x'.repeat(4_096 - frame) }, testContext(ports));
  expect(pushes).toHaveLength(1);
});

test.each<[Delivery, object, boolean]>([
  [{ outcome: 'refused', about: 'recipient', code: 'unregistered', detail: 'gone' }, { name: 'PermanentFailure', code: 'unregistered' }, true],
  [{ outcome: 'refused', about: 'message', code: 'invalid_payload', detail: 'bad key' }, { name: 'PermanentFailure', code: 'invalid_payload' }, true],
  [{ outcome: 'unconfigured', detail: 'set FIREBASE_PROJECT_ID' }, { name: 'PermanentFailure', code: 'channel_not_configured' }, true],
  [{ outcome: 'deferred', code: 'rate_limited', detail: '429', retryAfterMs: 30_000 }, { name: 'RetryLater', code: 'rate_limited', delayMs: 30_000 }, false],
  [{ outcome: 'deferred', code: 'rate_limited', detail: '429' }, { name: 'RetryLater', delayMs: 60_000 }, false],
  [{ outcome: 'deferred', code: 'rate_limited', detail: '429', retryAfterMs: 86_400_000 }, { name: 'RetryLater', delayMs: 3_600_000 }, false],
  [{ outcome: 'deferred', code: 'rate_limited', detail: '429', retryAfterMs: 0 }, { name: 'RetryLater', delayMs: 1_000 }, false],
  [{ outcome: 'unauthorized', detail: '401' }, { name: 'RetryLater', code: 'channel_unauthorized', delayMs: 60_000 }, false],
  [{ outcome: 'unavailable', detail: '503' }, { name: 'ProviderUnavailable', code: 'provider_unavailable' }, false],
])('the answer %o ends the run as %o', async (answer, expected, logged) => {
  const { ports, records, effects } = memoryPorts([answer]);
  await expect(sendPushHandler(payload, testContext(ports))).rejects.toMatchObject(expected);
  // Certainly not made: the next try may claim afresh.
  expect(effects.rows.size).toBe(0);
  expect(records.map(({ success }) => success)).toEqual(logged ? [false] : []);
});

test('after the last try an unavailable provider leaves a failed notification', async () => {
  const { ports, records } = memoryPorts([{ outcome: 'unavailable', detail: '503' }]);
  await expect(sendPushHandler(payload, testContext(ports, { lastTry: true }))).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(records).toMatchObject([{ success: false }]);
});

test('a last try that is handed back because the process stops is not logged: another follows', async () => {
  const { ports, records } = memoryPorts();
  const signal = AbortSignal.abort(new Error('stopping'));
  await expect(sendPushHandler(payload, testContext(ports, { lastTry: true, signal }))).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(records).toEqual([]);
  await expect(sendPushHandler(payload, testContext(ports, { lastTry: true, signal: AbortSignal.abort(new TimedOut(30_000)) }))).rejects.toThrow();
  expect(records).toMatchObject([{ success: false }]);
});

test('a lost answer keeps the claim, and the push goes out once more with the same collapse key', async () => {
  const { ports, pushes, effects, records } = memoryPorts([ambiguous]);
  const lost = await sendPushHandler(payload, testContext(ports)).catch((error: unknown) => error);
  expect(lost).toBeInstanceOf(RetryLater);
  expect(lost).toMatchObject({ code: 'delivery_ambiguous', delayMs: leaseMs });
  // Before the lease ends nobody sends: the first request may still be on its way.
  await expect(sendPushHandler(payload, testContext(ports, { attempt: 2 }))).rejects.toMatchObject({ name: 'RetryLater', code: 'delivery_busy' });
  expect(pushes).toHaveLength(1);
  effects.expireLeases();
  await expect(sendPushHandler(payload, testContext(ports, { attempt: 3 }))).resolves.toMatchObject({ status: 'done' });
  expect(pushes).toHaveLength(2);
  expect(new Set(pushes.map(({ collapseKey }) => collapseKey)).size).toBe(1);
  expect(records).toMatchObject([{ success: true }]);
});

test('when the resend is lost as well there is no third, and the job is given up as unknown', async () => {
  const { ports, pushes, effects, records } = memoryPorts([ambiguous, ambiguous]);
  await sendPushHandler(payload, testContext(ports)).catch(() => undefined);
  effects.expireLeases();
  await expect(sendPushHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'PermanentFailure', code: 'delivery_unknown' });
  effects.expireLeases();
  await expect(sendPushHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_unknown' });
  expect(pushes).toHaveLength(2);
  expect(records.every(({ success }) => !success)).toBe(true);
});

test('a resend that certainly was not made may be tried again', async () => {
  const { ports, pushes, effects } = memoryPorts([ambiguous, { outcome: 'unavailable', detail: '503' }]);
  await sendPushHandler(payload, testContext(ports)).catch(() => undefined);
  effects.expireLeases();
  await expect(sendPushHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'provider_unavailable' });
  effects.expireLeases();
  await expect(sendPushHandler(payload, testContext(ports))).resolves.toMatchObject({ status: 'done' });
  expect(pushes).toHaveLength(3);
});

test('a worker that died between resend and confirmation has sent: nothing goes out again', async () => {
  const { ports, pushes, effects } = memoryPorts([ambiguous]);
  await sendPushHandler(payload, testContext(ports)).catch(() => undefined);
  const [key] = effects.rows.keys();
  const claim = await effects.claim(`${key}:resend`, { messageId: 'message-1', leaseMs });
  if (claim.state === 'claimed') await effects.confirm(`${key}:resend`, claim.token, 'resent');
  effects.expireLeases();
  await expect(sendPushHandler(payload, testContext(ports))).resolves.toMatchObject({ result: { providerId: 'resent', alreadySent: true } });
  expect(pushes).toHaveLength(1);
});

test('an adapter that throws counts as unknown, not as not sent', async () => {
  const { ports } = memoryPorts([new Error('a bug')]);
  await expect(sendPushHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_ambiguous' });
});

test('a confirmation that fails for a moment is repeated, the push is not', async () => {
  const { ports, pushes, effects } = memoryPorts();
  let failures = 2;
  const flaky = {
    ...effects,
    confirm: async (...args: Parameters<typeof effects.confirm>) => {
      failures -= 1;
      if (failures >= 0) throw new Error('connection reset');
      return effects.confirm(...args);
    },
  };
  await expect(sendPushHandler(payload, testContext({ ...ports, effects: flaky }))).resolves.toMatchObject({ status: 'done' });
  expect(pushes).toHaveLength(1);
});

test('without the ledger nothing is sent and no try is used up', async () => {
  const { ports, pushes } = memoryPorts();
  const away = Object.assign(new Error('the database is not available'), { code: 'database_unavailable' });
  const effects = { ...ports.effects, claim: () => Promise.reject(away) };
  await expect(sendPushHandler(payload, testContext({ ...ports, effects }, { lastTry: true }))).rejects.toMatchObject({
    name: 'RetryLater',
    code: 'database_unavailable',
  });
  expect(pushes).toEqual([]);
});

test('urgent pushes go before all others', () => {
  const priority = (urgent?: boolean) =>
    typeof sendPush.priority === 'function' ? sendPush.priority({ ...payload, ...(urgent === undefined ? {} : { urgent }) }) : sendPush.priority;
  expect([priority(), priority(false), priority(true)]).toEqual([3, 3, 10]);
});

test('the options of a push reach the sender, and its collapse id is one key for every push that names it', async () => {
  const { ports, pushes } = memoryPorts();
  const push = { badge: 2, ttlSeconds: 60, collapseId: 'chat-42' };
  await sendPushHandler({ ...payload, push }, testContext(ports));
  await sendPushHandler({ ...payload, push }, testContext(ports, { messageId: 'message-2' }));
  await sendPushHandler({ ...payload, userId: 'user-2', push }, testContext(ports, { messageId: 'message-3' }));
  expect(pushes[0]).toMatchObject({ options: { badge: 2, ttlSeconds: 60 }, collapseKey: expect.stringMatching(/^[0-9a-f]{32}$/) as string });
  expect(pushes[1]?.collapseKey).toBe(pushes[0]?.collapseKey);
  expect(pushes[2]?.collapseKey).not.toBe(pushes[0]?.collapseKey);
});

test('the options count towards the size of a push', async () => {
  const { ports, pushes } = memoryPorts();
  const long = { ...payload, data: { text: 'x'.repeat(3_900) } };
  await expect(sendPushHandler(long, testContext(ports))).resolves.toMatchObject({ status: 'done' });
  const push = { image: `https://cdn.example.com/${'y'.repeat(200)}` };
  await expect(sendPushHandler({ ...long, push }, testContext(ports, { messageId: 'message-2' }))).rejects.toMatchObject({ code: 'payload_too_large' });
  expect(pushes).toHaveLength(1);
});
