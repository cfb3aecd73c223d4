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

const message = { to: '+4915112345678', body: 'Grüße & 100 % = ?\nDinner', reference: 'c0ffee' };
const never = new AbortController().signal;
const texts = () => servers.fakes.effects({ service: 'sms', kind: 'sms' });

test('a text message arrives as it was written', async () => {
  const delivery = await sms.send(message, never);
  const [effect] = await texts();
  expect(effect).toMatchObject({ key: message.to, from: '+15005550006', body: message.body });
  expect(delivery).toEqual({ outcome: 'sent', providerId: effect?.['sid'] });
});

test('the provider is asked for reports only where it is told to', async () => {
  await sms.send(message, never);
  const own = (await servers.channels({ SMS_WEBHOOK_BASE_URL: 'http://127.0.0.1:1/hooks/' })).sms.port;
  await own.send(message, never);
  expect((await texts()).map((effect) => effect['statusCallback'])).toEqual([null, 'http://127.0.0.1:1/hooks/webhooks/twilio/status?send=c0ffee']);
});

test.each<[string, Action, object]>([
  ['an opt-out', { code: '21610' }, { outcome: 'refused', about: 'recipient', code: 'opted_out' }],
  ['a number that is none', { code: '21211' }, { outcome: 'refused', about: 'recipient', code: 'invalid_phone_number' }],
  ['another refusal', { code: '21602' }, { outcome: 'refused', about: 'message', code: 'invalid_message' }],
  ['429 with a time', { status: 429, headers: { 'retry-after': '17' } }, { outcome: 'deferred', code: 'rate_limited', retryAfterMs: 17_000 }],
  ['429 without a time', { code: '20429' }, { outcome: 'deferred', code: 'rate_limited' }],
  ['a number that is no mobile', { code: '21614' }, { outcome: 'refused', about: 'recipient', code: 'not_a_mobile_number' }],
  ['a filtered text', { code: '30007' }, { outcome: 'refused', about: 'message', code: 'invalid_message' }],
  ['refused credentials', { status: 401 }, { outcome: 'unauthorized' }],
  ['a refused address for reports', { status: 400, body: '{"code":21609,"message":"Invalid StatusCallback","status":400}' }, { outcome: 'unauthorized' }],
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

test('a message whose reply was lost is listed, by its number, its text and its time', async () => {
  const own = { ...message, to: '+4915188888888' };
  const claimedAt = new Date();
  await servers.fakes.script('sms', [{ match: { operation: 'create' }, times: 1, action: { loseReply: true } }]);
  await sms.send(own, never);
  const [effect] = await texts();
  const nothing = { outcome: 'listed', messages: [] };
  await expect(sms.list(own, claimedAt, never)).resolves.toEqual({
    outcome: 'listed',
    messages: [{ providerId: effect?.['sid'], status: 'delivered', undelivered: false }],
  });
  await expect(sms.list({ ...own, body: 'another' }, claimedAt, never)).resolves.toEqual(nothing);
  await expect(sms.list({ ...own, to: '+4915188888887' }, claimedAt, never)).resolves.toEqual(nothing);
  await expect(sms.list(own, new Date(Date.now() + 60_000), never)).resolves.toEqual(nothing);
  await expect(sms.list(own, new Date(Date.now() - 120_000), never)).resolves.toEqual(nothing);
});

test('messages with the same text are listed oldest first, and what was not delivered is told apart', async () => {
  const own = { ...message, to: '+4915112340404' };
  const claimedAt = new Date();
  const sent = [await sms.send(own, never), await sms.send(own, never)];
  await expect(sms.list(own, claimedAt, never)).resolves.toMatchObject({
    messages: sent.map((each) => ({ providerId: each.outcome === 'sent' ? each.providerId : '', undelivered: true })),
  });
});

test.each<[string, Action]>([
  ['500', { status: 500 }],
  ['a reset connection', { reset: true }],
  ['an answer that is cut off', { resetAfterBytes: 10 }],
  ['no JSON', { status: 200, body: '<html></html>' }],
  ['refused credentials', { status: 401 }],
])('asked for a lost message, %s settles nothing', async (_name, action) => {
  await sms.send(message, never);
  await servers.fakes.script('sms', [{ match: { operation: 'list' }, action }]);
  await expect(sms.list(message, new Date(0), never)).resolves.toMatchObject({ outcome: 'unreadable' });
});

test('a full page that does not reach back to the send settles nothing', async () => {
  const own = { ...message, to: '+4915199999999' };
  const since = new Date();
  for (let count = 0; count < 50; count += 1) await sms.send(own, never);
  await expect(sms.list({ ...own, body: 'y' }, since, never)).resolves.toMatchObject({ outcome: 'unreadable' });
});

test('a server that speaks no TLS where TLS is expected gets nothing', async () => {
  const plain = new URL(servers.stack.env['SMS_BASE_URL'] ?? '');
  const broken = (await servers.channels({ SMS_BASE_URL: `https://${plain.host}` })).sms.port;
  await expect(broken.send(message, never)).resolves.toMatchObject({ outcome: 'unavailable' });
  expect(await texts()).toEqual([]);
});

const template = { to: message.to, contentSid: `HX${'0'.repeat(32)}`, variables: { 1: 'Grüße & "Dinner"' }, reference: 'c0ffee' };
const inWhatsApp = async () => (await servers.channels({ WHATSAPP_FROM_NUMBER: '+15005550007' })).whatsApp;

test('a WhatsApp template goes to the number in WhatsApp, with what fills it as JSON', async () => {
  const delivery = await (await inWhatsApp()).send(template, never);
  const [effect] = await texts();
  expect(effect).toMatchObject({
    key: `whatsapp:${message.to}`,
    from: 'whatsapp:+15005550007',
    body: '',
    contentSid: template.contentSid,
    contentVariables: '{"1":"Grüße & \\"Dinner\\""}',
  });
  expect(delivery).toEqual({ outcome: 'sent', providerId: effect?.['sid'] });
});

test.each<[string, Action, object]>([
  ['a number that WhatsApp does not find', { code: '63003' }, { outcome: 'refused', about: 'recipient', code: 'not_in_whatsapp' }],
  ['a person who has not accepted the terms', { code: '63024' }, { outcome: 'refused', about: 'recipient', code: 'not_in_whatsapp' }],
  ['a template for conversations only', { code: '63016' }, { outcome: 'refused', about: 'recipient', code: 'outside_whatsapp_window' }],
  ['wrong variables', { status: 400, body: '{"code":21656,"message":"invalid"}' }, { outcome: 'refused', about: 'message' }],
  ['500', { status: 500 }, { outcome: 'ambiguous' }],
  ['a reset connection', { reset: true }, { outcome: 'ambiguous' }],
])('in WhatsApp, %s', async (_name, action, expected) => {
  await servers.fakes.script('sms', [{ action }]);
  await expect((await inWhatsApp()).send(template, never)).resolves.toMatchObject(expected);
  expect(await texts()).toEqual([]);
});

test('without a number in WhatsApp nothing is sent there', async () => {
  await expect((await servers.channels()).whatsApp.send(template, never)).resolves.toMatchObject({ outcome: 'unconfigured' });
});
