import type { PushMessage, PushSender } from '@backhaul/jobs/notification';
import { type Action, freePort } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestChannels, startTestChannels } from '../test-channels.ts';

let servers: TestChannels;
let push: PushSender;

beforeAll(async () => {
  servers = await startTestChannels();
  push = (await servers.channels()).push.port;
}, 30_000);
afterAll(() => servers.close());
beforeEach(() => servers.fakes.reset());

const message: PushMessage = { token: 'device-1', title: 'Family', body: 'Dinner?', data: { chatId: '42' }, collapseKey: 'c0ffee' };
const never = new AbortController().signal;

/** How many requests one piece of work made. */
async function sendsDuring<Result>(work: () => Promise<Result>): Promise<{ result: Result; sends: number }> {
  const count = async () => (await servers.fakes.traffic()).fcm.requests['send'] ?? 0;
  const before = await count();
  const result = await work();
  return { result, sends: (await count()) - before };
}

async function answeredWith(action: Action) {
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action }]);
  return sendsDuring(() => push.send(message, never));
}

test('a push arrives with its data, and with the collapse key where each platform looks for it', async () => {
  const delivery = await push.send(message, never);
  const [effect] = await servers.fakes.effects({ service: 'fcm', kind: 'push' });
  expect(effect).toMatchObject({
    key: 'device-1',
    message: {
      token: 'device-1',
      notification: { title: 'Family', body: 'Dinner?' },
      data: { chatId: '42' },
      android: { collapse_key: 'c0ffee', notification: { tag: 'c0ffee' } },
      apns: { headers: { 'apns-collapse-id': 'c0ffee' } },
      webpush: { headers: { Topic: 'c0ffee' } },
    },
  });
  expect(delivery).toEqual({ outcome: 'sent', providerId: effect?.['messageId'] });
});

test('the options arrive in the words of each platform', async () => {
  await push.send({ ...message, options: { ttlSeconds: 60, badge: 3, mutableContent: true, channelId: 'family' } }, never);
  await push.send({ ...message, token: 'device-2', options: { dataOnly: true } }, never);
  const [shown, silent] = (await servers.fakes.effects({ service: 'fcm', kind: 'push' })).map((effect) => effect['message']);
  expect(shown).toMatchObject({
    android: { ttl: '60s', notification: { channel_id: 'family', notification_count: 3 } },
    apns: { payload: { aps: { badge: 3, 'mutable-content': 1 } } },
    webpush: { headers: { TTL: '60' } },
  });
  expect(silent).not.toHaveProperty('notification');
  expect(silent).toMatchObject({ apns: { headers: { 'apns-push-type': 'background' }, payload: { aps: { 'content-available': 1 } } } });
});

test('many pushes share one access token and one connection', async () => {
  const own = (await servers.channels()).push.port;
  const before = (await servers.fakes.traffic()).fcm.connections;
  for (let sent = 0; sent < 5; sent += 1) await own.send(message, never);
  expect(await servers.fakes.effects({ service: 'fcm', kind: 'token' })).toHaveLength(1);
  // One for Google's token endpoint, one for FCM.
  expect((await servers.fakes.traffic()).fcm.connections - before).toBeLessThanOrEqual(2);
});

const deviceQuota = JSON.stringify({
  error: {
    code: 429,
    message: 'Quota exceeded',
    status: 'RESOURCE_EXHAUSTED',
    details: [
      { '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode: 'QUOTA_EXCEEDED' },
      { '@type': 'type.googleapis.com/google.rpc.QuotaFailure', violations: [{ subject: 'device:1', description: 'Device message rate exceeded' }] },
    ],
  },
});

test.each<[string, Action, object]>([
  ['UNREGISTERED', { code: 'UNREGISTERED' }, { outcome: 'refused', about: 'recipient', code: 'unregistered' }],
  ['a malformed token', { code: 'INVALID_ARGUMENT' }, { outcome: 'refused', about: 'recipient', code: 'invalid_token' }],
  [
    'a malformed message',
    { status: 400, body: '{"error":{"code":400,"message":"Invalid data payload key: from","status":"INVALID_ARGUMENT","details":[]}}' },
    { outcome: 'refused', about: 'message', code: 'invalid_payload' },
  ],
  ['a token of another project', { code: 'SENDER_ID_MISMATCH' }, { outcome: 'refused', about: 'recipient', code: 'sender_id_mismatch' }],
  ['an expired APNs certificate', { code: 'THIRD_PARTY_AUTH_ERROR' }, { outcome: 'unauthorized', about: 'platform' }],
  ['429', { code: 'QUOTA_EXCEEDED', headers: { 'retry-after': '30' } }, { outcome: 'deferred', code: 'rate_limited', retryAfterMs: 30_000 }],
  ['429 without a time', { code: 'QUOTA_EXCEEDED' }, { outcome: 'deferred', code: 'rate_limited' }],
  ['429 for one device', { status: 429, body: deviceQuota, headers: { 'retry-after': '30' } }, { outcome: 'deferred', code: 'device_rate_limited' }],
  ['500', { code: 'INTERNAL' }, { outcome: 'unavailable' }],
  ['503', { code: 'UNAVAILABLE' }, { outcome: 'unavailable' }],
  ['502 of a gateway', { status: 502, body: '<html>Bad Gateway</html>' }, { outcome: 'unavailable' }],
])('D-08, D-09: %s is answered with one request and the right outcome', async (_name, action, expected) => {
  const { result, sends } = await answeredWith(action);
  expect(result).toMatchObject(expected);
  expect(sends).toBe(1);
});

test('a message that the library itself refuses is refused, not ambiguous', async () => {
  const { result, sends } = await sendsDuring(() => push.send({ ...message, token: '' }, never));
  expect(result).toMatchObject({ outcome: 'refused' });
  expect(sends).toBe(0);
});

test('503 with Retry-After is known at once, not after the wait that the library would take', async () => {
  const startedAt = performance.now();
  const { result, sends } = await answeredWith({ code: 'UNAVAILABLE', headers: { 'retry-after': '45' } });
  expect(result).toMatchObject({ outcome: 'deferred', retryAfterMs: 45_000 });
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect(sends).toBe(1);
});

test('D-10: a lost reply is ambiguous and makes one push, not the five that the library would', async () => {
  const { result, sends } = await answeredWith({ loseReply: true });
  expect(result).toMatchObject({ outcome: 'ambiguous' });
  expect(sends).toBe(1);
  expect(await servers.fakes.effects({ service: 'fcm', kind: 'push' })).toHaveLength(1);
});

test('a connection that is reset after the request is ambiguous', async () => {
  const { result, sends } = await answeredWith({ reset: true });
  expect(result).toMatchObject({ outcome: 'ambiguous' });
  expect(sends).toBe(1);
});

test('an abort ends a request that hangs, and nothing follows it', async () => {
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action: { hang: true } }]);
  const { result, sends } = await sendsDuring(() => push.send(message, AbortSignal.timeout(300)));
  expect(result).toMatchObject({ outcome: 'ambiguous' });
  expect(sends).toBe(1);
});

test.each<[string, Action]>([
  ['a service account without the permission', { status: 403, body: '{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}' }],
  ['a refused access token', { status: 401 }],
])('D-09: %s is unauthorized with one request, or two when it was good before', async (_name, action) => {
  const own = (await servers.channels()).push.port;
  const script = await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action }]);
  const first = await sendsDuring(() => own.send(message, never));
  expect(first).toMatchObject({ result: { outcome: 'unauthorized' }, sends: 1 });
  await script.remove();
  await expect(own.send(message, never)).resolves.toMatchObject({ outcome: 'sent' });
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, action }]);
  const later = await sendsDuring(() => own.send(message, never));
  expect(later).toMatchObject({ result: { outcome: 'unauthorized' }, sends: 2 });
});

test('D-09: an access token that is refused all at once is fetched anew, and no push of those under way is lost or doubled', async () => {
  const own = (await servers.channels()).push.port;
  await own.send(message, never);
  await servers.fakes.reset();
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, times: 20, action: { status: 401, delayMs: 500 } }]);
  const sent = await Promise.all(Array.from({ length: 20 }, (_, index) => own.send({ ...message, token: `device-${index}` }, never)));
  expect(sent.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 20 }, () => 'sent'));
  expect(await servers.fakes.effects({ service: 'fcm', kind: 'push' })).toHaveLength(20);
  expect(await servers.fakes.effects({ service: 'fcm', kind: 'token' })).toHaveLength(1);
});

test('a refused service account is unauthorized, and nothing is sent', async () => {
  const own = (await servers.channels()).push.port;
  await servers.fakes.script('fcm', [
    { match: { operation: 'token' }, action: { status: 400, body: '{"error":"invalid_grant","error_description":"Invalid JWT Signature."}' } },
  ]);
  const { result, sends } = await sendsDuring(() => own.send(message, never));
  expect(result).toMatchObject({ outcome: 'unauthorized' });
  expect(sends).toBe(0);
});

test('a token endpoint that hangs is unavailable, not ambiguous', async () => {
  const own = (await servers.channels()).push.port;
  await servers.fakes.script('fcm', [{ match: { operation: 'token' }, action: { hang: true } }]);
  const { result, sends } = await sendsDuring(() => own.send(message, AbortSignal.timeout(300)));
  expect(result).toMatchObject({ outcome: 'unavailable' });
  expect(sends).toBe(0);
});

test('nobody listening is unavailable', async () => {
  const own = (await servers.channels({ FCM_BASE_URL: `https://127.0.0.1:${await freePort()}` })).push.port;
  await expect(own.send(message, AbortSignal.timeout(5_000))).resolves.toMatchObject({ outcome: 'unavailable' });
});

test('a server whose certificate is not trusted gets no push', async () => {
  const { FCM_CA_FILE: _, ...env } = servers.stack.env;
  const own = (await servers.channels({ ...env, FCM_CA_FILE: '' })).push.port;
  await expect(own.send(message, AbortSignal.timeout(5_000))).resolves.toMatchObject({ outcome: 'unavailable' });
  expect(await servers.fakes.effects({ service: 'fcm', kind: 'push' })).toEqual([]);
});
