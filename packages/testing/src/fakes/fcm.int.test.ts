import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { json } from 'node:stream/consumers';
import { deleteApp, initializeApp, type App } from 'firebase-admin/app';
import { getMessaging, type Messaging } from 'firebase-admin/messaging';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stack, startStack } from '../stack.ts';

let stack: Stack;
let app: App;
let messaging: Messaging;

/** Leads every connection of the SDK to the fake; the SDK itself has no setting for an address. */
class FakeAgent extends Agent {
  override createConnection(...[options, callback]: Parameters<Agent['createConnection']>): Duplex | null | undefined {
    const { port } = new URL(stack.env['FCM_BASE_URL'] ?? '');
    const ca = readFileSync(stack.env['FCM_CA_FILE'] ?? '', 'utf8');
    return super.createConnection({ ...options, host: '127.0.0.1', port: Number(port), ca }, callback);
  }
}

beforeAll(async () => {
  stack = await startStack({ dir: join(tmpdir(), `backhaul-fcm-${process.pid}`), only: ['fakes'] });
  const httpAgent = new FakeAgent({ keepAlive: true });
  // The SDK's own credential asks Google by a way that takes no agent; the token endpoint has its own test below.
  const credential = { getAccessToken: () => Promise.resolve({ access_token: 'fake', expires_in: 3600 }) };
  app = initializeApp({ projectId: stack.env['FIREBASE_PROJECT_ID'] ?? '', credential, httpAgent });
  messaging = getMessaging(app);
});

afterAll(async () => {
  await deleteApp(app);
  await stack.stop({ removeData: true });
});

const notification = { title: 'hello', body: 'you have mail' };

test('the token endpoint answers under its own name, and the key can be signed with', async () => {
  const { port } = new URL(stack.env['FCM_BASE_URL'] ?? '');
  const ca = readFileSync(stack.env['FCM_CA_FILE'] ?? '', 'utf8');
  expect(createPrivateKey(stack.env['FIREBASE_PRIVATE_KEY'] ?? '').asymmetricKeyType).toBe('rsa');
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ host: '127.0.0.1', port, ca, servername: 'oauth2.googleapis.com', path: '/token', method: 'POST' }, resolve).once('error', reject).end();
  });
  expect(await json(answer)).toMatchObject({ access_token: expect.stringMatching(/^fake-/) as string, token_type: 'Bearer' });
});

test('the real SDK sends', async () => {
  const id = await messaging.send({ token: 'phone-1', notification, data: { chat: '7' } });
  expect(id).toMatch(/^projects\/backhaul-local\/messages\//);
  const effect = await stack.fakes.waitFor(({ key }) => key === 'phone-1');
  expect(effect).toMatchObject({ service: 'fcm', kind: 'push', messageId: id, message: { notification, data: { chat: '7' } } });
});

test.each([
  ['UNREGISTERED', 'messaging/registration-token-not-registered'],
  ['INVALID_ARGUMENT', 'messaging/invalid-argument'],
  ['SENDER_ID_MISMATCH', 'messaging/mismatched-credential'],
  ['QUOTA_EXCEEDED', 'messaging/message-rate-exceeded'],
  ['THIRD_PARTY_AUTH_ERROR', 'messaging/third-party-auth-error'],
  ['INTERNAL', 'messaging/internal-error'],
])('%s reaches the caller as %s', async (code, expected) => {
  const script = await stack.fakes.script('fcm', [{ match: { operation: 'send' }, action: { code } }]);
  await expect(messaging.send({ token: `phone-${code}`, notification })).rejects.toMatchObject({ code: expected });
  await script.remove();
  expect(await stack.fakes.effects({ kind: 'push', key: `phone-${code}` })).toEqual([]);
});

test('a rate limit says how long to wait', async () => {
  const script = await stack.fakes.script('fcm', [{ match: { token: 'busy' }, action: { status: 429, headers: { 'retry-after': '30' } } }]);
  const answer = await messaging.send({ token: 'busy', notification }).catch((error: unknown) => error);
  await script.remove();
  expect(answer).toMatchObject({ code: 'messaging/message-rate-exceeded', httpResponse: { status: 429, headers: { 'retry-after': '30' } } });
});

test('the SDK repeats after 503 until the fake relents', async () => {
  await stack.fakes.script('fcm', [{ match: { token: 'patient' }, times: 2, action: { status: 503, code: 'UNAVAILABLE' } }]);
  await messaging.send({ token: 'patient', notification });
  expect((await stack.fakes.effects({ key: 'patient' })).map(({ kind }) => kind)).toEqual(['refused', 'refused', 'push']);
});

test('a push whose answer is lost was delivered; the SDK sends it again', async () => {
  await stack.fakes.script('fcm', [{ match: { token: 'twice' }, times: 1, action: { loseReply: true } }]);
  await messaging.send({ token: 'twice', notification });
  expect(await stack.fakes.effects({ kind: 'push', key: 'twice' })).toHaveLength(2);
});

test('without an access token, and with too large a payload, nothing is sent', async () => {
  const script = await stack.fakes.script('fcm', [{ match: { token: 'expired' }, action: { status: 401 } }]);
  await expect(messaging.send({ token: 'expired', notification })).rejects.toMatchObject({
    code: 'messaging/third-party-auth-error',
    httpResponse: { status: 401 },
  });
  await script.remove();
  await expect(messaging.send({ token: 'large', data: { text: 'x'.repeat(4097) } })).rejects.toMatchObject({ code: 'messaging/invalid-argument' });
});
