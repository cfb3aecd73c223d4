import { createHmac, randomInt, randomUUID } from 'node:crypto';
import { createSmsGuard, createSmsReports } from '@backhaul/database';
import { type Logger, createHealthServer, createMetrics } from '@backhaul/runtime';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerErrors } from '../http-errors.ts';
import { twilioWebhookRoutes } from './twilio-webhooks.ts';

const baseUrl = 'https://hooks.chat.example/backhaul/';
const authToken = 'the-auth-token';
const metrics = createMetrics('ops-api');
let world: TestDatabase;
let url = '';
let written = '';
const write = (...line: unknown[]) => void (written += JSON.stringify(line));
const log: Logger = { debug: write, info: write, warn: write, error: write, child: () => log };
const stop: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  world = await testDatabase();
  stop.push(() => world.close());
  url = await listen({ authToken, baseUrl });
});
afterAll(async () => {
  for (const each of stop.toReversed()) await each();
});

async function listen(settings: { authToken: string | undefined; baseUrl: string | undefined }): Promise<string> {
  const http = createHealthServer({ service: 'ops-api', log, metrics, onShutdown: () => undefined });
  http.app.use(twilioWebhookRoutes({ ...settings, reports: createSmsReports(world.database), metrics }), answerErrors);
  const { port } = await http.listen('127.0.0.1', 0);
  stop.push(() => http.close());
  return `http://127.0.0.1:${port}`;
}

/** Signed by hand, as the provider's documentation describes it. */
async function post(path: string, fields: Record<string, string>, changes: { signature?: string; body?: string; at?: string } = {}) {
  const signed = `https://hooks.chat.example/backhaul${path}${Object.keys(fields)
    .toSorted()
    .map((name) => `${name}${fields[name] ?? ''}`)
    .join('')}`;
  const answer = await fetch(`${changes.at ?? url}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded; charset=UTF-8',
      'x-twilio-signature': changes.signature ?? createHmac('sha1', authToken).update(signed).digest('base64'),
    },
    body: changes.body ?? new URLSearchParams(fields).toString(),
    signal: AbortSignal.timeout(10_000),
  });
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() };
}

const someNumber = () => `+49151${randomInt(10_000_000, 99_999_999)}`;
const someId = () => `SM${randomUUID().replaceAll('-', '')}`;
const isOptedOut = (number: string) => createSmsGuard(world.database).isOptedOut(number);
const inbound = (From: string, Body: string, more: Record<string, string> = {}) =>
  post('/webhooks/twilio/inbound', { MessageSid: someId(), AccountSid: 'AC1', From, To: '+15005550006', Body, NumMedia: '0', ...more });

test.each(['STOP', 'stopall', ' Unsubscribe\n', 'CANCEL', 'End', 'QUIT'])('%o opts out for good, and nothing is answered to the person', async (word) => {
  const number = someNumber();
  const answer = await inbound(number, word);
  expect(answer).toMatchObject({ status: 200, text: '<?xml version="1.0" encoding="UTF-8"?><Response/>' });
  expect(answer.type).toMatch(/^text\/xml/);
  expect(await isOptedOut(number)).toBe(true);
});

test.each(['START', 'yes', ' UnStop '])('%o opts in again', async (word) => {
  const number = someNumber();
  await inbound(number, 'STOP');
  await inbound(number, word);
  expect(await isOptedOut(number)).toBe(false);
});

test.each(['', 'please STOP', 'STOP it', 'stopp', 'HELP', 'Ärger 😀 & = +', 'x'.repeat(1_600)])('%o is none of our business', async (words) => {
  const number = someNumber();
  expect(await inbound(number, words)).toMatchObject({ status: 200 });
  expect(await isOptedOut(number)).toBe(false);
});

test('where the provider reads keywords of its own, its reading counts', async () => {
  const number = someNumber();
  await inbound(number, 'Bitte nicht mehr', { OptOutType: 'STOP' });
  expect(await isOptedOut(number)).toBe(true);
  await inbound(number, 'STOP?', { OptOutType: 'HELP' });
  await inbound(number, 'Weiter', { OptOutType: 'START' });
  expect(await isOptedOut(number)).toBe(false);
});

test('STOP in WhatsApp is STOP for the phone', async () => {
  const number = someNumber();
  await inbound(`whatsapp:${number}`, 'STOP');
  expect(await isOptedOut(number)).toBe(true);
});

test('a request that is repeated later changes nothing', async () => {
  const number = someNumber();
  const fields = { MessageSid: someId(), From: number, Body: 'STOP' };
  await post('/webhooks/twilio/inbound', fields);
  await inbound(number, 'START');
  expect(await post('/webhooks/twilio/inbound', fields)).toMatchObject({ status: 200 });
  expect(await isOptedOut(number)).toBe(false);
});

test.each(['short-code', '12345', '+1', 'whatsapp:12345', ''])('a sender that is no number (%o) is passed over', async (From) => {
  expect(await inbound(From, 'STOP')).toMatchObject({ status: 200 });
});

test('a forged request is refused: no signature of ours, or other words than were signed', async () => {
  const number = someNumber();
  const fields = { MessageSid: someId(), From: number, Body: 'hello' };
  const forged = new URLSearchParams({ ...fields, Body: 'STOP' }).toString();
  for (const path of ['/webhooks/twilio/inbound', '/webhooks/twilio/status']) {
    expect(await post(path, { ...fields, Body: 'STOP' }, { signature: 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=' })).toMatchObject({ status: 403 });
    expect(await post(path, fields, { body: forged })).toMatchObject({ status: 403 });
    expect(await post(path, fields, { body: `${new URLSearchParams(fields).toString()}&Body=STOP` })).toMatchObject({ status: 403 });
  }
  expect(await isOptedOut(number)).toBe(false);
});

test('a body that is too large is not read to its end', async () => {
  expect(await inbound(someNumber(), 'x'.repeat(70_000))).toMatchObject({ status: 413 });
});

test('without the secret, or without the address, there is no such route', async () => {
  for (const settings of [
    { authToken: undefined, baseUrl },
    { authToken, baseUrl: undefined },
  ]) {
    const at = await listen(settings);
    for (const path of ['/webhooks/twilio/inbound', '/webhooks/twilio/status']) expect(await post(path, {}, { at })).toMatchObject({ status: 404 });
  }
});

test('statuses are kept with the send they belong to, and an opt-out among them counts', async () => {
  const [MessageSid, To, send] = [someId(), someNumber(), randomUUID().replaceAll('-', '')];
  const report = (MessageStatus: string, more: Record<string, string> = {}) =>
    post(`/webhooks/twilio/status?send=${send}`, { MessageSid, MessageStatus, To, AccountSid: 'AC1', ...more });
  expect(await report('sent')).toMatchObject({ status: 204 });
  expect(await report('queued')).toMatchObject({ status: 204 });
  const found = () => createSmsReports(world.database).ofSend(send);
  expect(await found()).toMatchObject({ providerId: MessageSid, status: 'sent', errorCode: null });
  expect(await isOptedOut(To)).toBe(false);
  await report('undelivered', { ErrorCode: '21610' });
  expect(await found()).toMatchObject({ providerId: MessageSid, status: 'undelivered', errorCode: 21_610 });
  expect(await isOptedOut(To)).toBe(true);
});

test('a status that this version does not know is passed over, so that it does not come again', async () => {
  const send = randomUUID().replaceAll('-', '');
  for (const changes of [{ MessageStatus: 'teleported' }, { ErrorCode: 'x' }, { MessageSid: '../etc' }])
    expect(await post(`/webhooks/twilio/status?send=${send}`, { MessageSid: someId(), MessageStatus: 'sent', ...changes })).toMatchObject({ status: 204 });
  expect(await createSmsReports(world.database).ofSend(send)).toBeUndefined();
});

test('what became of the requests is counted; numbers and words are in no log', async () => {
  const number = someNumber();
  await inbound(number, 'STOP');
  await post('/webhooks/twilio/inbound', { MessageSid: someId(), From: number, Body: 'secret words' }, { signature: 'x' });
  const text = await metrics.registry.metrics();
  for (const outcome of ['opted_out', 'opted_in', 'repeated', 'ignored', 'forged'])
    expect(text).toMatch(new RegExp(`backhaul_sms_webhooks_total\\{webhook="inbound",outcome="${outcome}"[^}]*\\} [1-9]`));
  expect(written + text).not.toMatch(new RegExp(`${number.slice(1)}|secret words`));
});
