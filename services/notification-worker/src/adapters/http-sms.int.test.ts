import type { SmsSender } from '@backhaul/jobs/notification';
import { type Action, freePort } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestChannels, startTestChannels } from '../test-channels.ts';

let servers: TestChannels;
let sms: SmsSender;

beforeAll(async () => {
  servers = await startTestChannels();
  sms = (await servers.channels()).sms.port;
}, 30_000);
afterAll(() => servers.close());
beforeEach(() => servers.fakes.reset());

const message = { to: '+4915112345678', body: 'Grüße & 100 % = ?\nDinner' };
const never = new AbortController().signal;
const texts = () => servers.fakes.effects({ service: 'sms', kind: 'sms' });

test('a text message arrives as it was written', async () => {
  const delivery = await sms.send(message, never);
  const [effect] = await texts();
  expect(effect).toMatchObject({ key: message.to, from: '+15005550006', body: message.body });
  expect(delivery).toEqual({ outcome: 'sent', providerId: effect?.['sid'] });
});

test.each<[string, Action, object]>([
  ['an opt-out', { code: '21610' }, { outcome: 'refused', about: 'recipient', code: 'opted_out' }],
  ['a number that is none', { code: '21211' }, { outcome: 'refused', about: 'recipient', code: 'invalid_phone_number' }],
  ['another refusal', { code: '21602' }, { outcome: 'refused', about: 'message', code: 'invalid_message' }],
  ['429 with a time', { status: 429, headers: { 'retry-after': '17' } }, { outcome: 'deferred', code: 'rate_limited', retryAfterMs: 17_000 }],
  ['429 without a time', { code: '20429' }, { outcome: 'deferred', code: 'rate_limited' }],
  ['refused credentials', { status: 401 }, { outcome: 'unauthorized' }],
  ['500, after which the message may have been sent', { status: 500 }, { outcome: 'ambiguous' }],
  ['503 of a gateway', { status: 503, body: '<html></html>' }, { outcome: 'ambiguous' }],
  ['a reset connection', { reset: true }, { outcome: 'ambiguous' }],
])('%s', async (_name, action, expected) => {
  await servers.fakes.script('sms', [{ action }]);
  await expect(sms.send(message, never)).resolves.toMatchObject(expected);
  expect(await texts()).toEqual([]);
});

test('a lost reply is ambiguous, and one message went out', async () => {
  await servers.fakes.script('sms', [{ action: { loseReply: true } }]);
  await expect(sms.send(message, never)).resolves.toMatchObject({ outcome: 'ambiguous' });
  expect(await texts()).toHaveLength(1);
});

test('a provider that hangs is ambiguous when the time is over', async () => {
  await servers.fakes.script('sms', [{ action: { hang: true } }]);
  await expect(sms.send(message, AbortSignal.timeout(300))).resolves.toMatchObject({ outcome: 'ambiguous' });
});

test('a wrong secret is unauthorized', async () => {
  const own = (await servers.channels({ SMS_API_SECRET: 'wrong' })).sms.port;
  await expect(own.send(message, never)).resolves.toMatchObject({ outcome: 'unauthorized' });
});

test('nobody listening, or a name that does not exist, is unavailable', async () => {
  const closed = (await servers.channels({ SMS_BASE_URL: `http://127.0.0.1:${await freePort()}` })).sms.port;
  await expect(closed.send(message, never)).resolves.toMatchObject({ outcome: 'unavailable' });
  const nowhere = (await servers.channels({ SMS_BASE_URL: 'http://no-such-host.invalid' })).sms.port;
  await expect(nowhere.send(message, never)).resolves.toMatchObject({ outcome: 'unavailable' });
});
