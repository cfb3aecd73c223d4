import { randomUUID } from 'node:crypto';
import { createEmailQueue, createJobLedger, createJobs, createMailGuard, createMailSuppressions } from '@backhaul/database';
import { createHealthServer, createMetrics, silentLogger } from '@backhaul/runtime';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerErrors, requireToken } from '../http-errors.ts';
import { mailRoutes } from './mails.ts';

let world: TestDatabase;
let url = '';
let close: () => Promise<unknown>;

beforeAll(async () => {
  world = await testDatabase();
  const http = createHealthServer({ service: 'ops-api', log: silentLogger, metrics: createMetrics('ops-api'), onShutdown: () => undefined });
  const { database } = world;
  http.app.use(
    mailRoutes({ emails: createEmailQueue(database), suppressions: createMailSuppressions(database), authorized: requireToken('the-token') }),
    answerErrors,
  );
  const { port } = await http.listen('127.0.0.1', 0);
  close = () => http.close();
  url = `http://127.0.0.1:${port}`;
});
afterAll(async () => {
  await close();
  await world.close();
});

async function ask(method: string, path: string, body?: unknown, authorization = 'Bearer the-token') {
  const answer = await fetch(url + path, { method, headers: { authorization }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

async function accept(): Promise<string> {
  const messageId = randomUUID();
  const payloadJson = '{"type":"email","userId":"u","title":"secret","body":"secret","email":"ann.secret@example.com"}';
  await createJobs(world.database).record([
    { messageId, queue: 'notification', name: 'notification.send-email', priority: 1, bodyHash: Buffer.alloc(32, messageId), payloadJson, traceparent: null },
  ]);
  return messageId;
}

test('the queue of mails is read a page at a time, by status, without words and addresses', async () => {
  const first = await accept();
  const second = await accept();
  const failed = await accept();
  const ledger = createJobLedger(world.database);
  await ledger.start(failed, 'test');
  await ledger.bury(failed, 1, { reason: 'mailbox_refused', error: { name: 'PermanentFailure', code: 'mailbox_refused', message: '550' } });
  const page = await ask('GET', '/v1/email-queue?status=pending&limit=1');
  expect(page).toMatchObject({ status: 200, body: { emails: [{ messageId: second, recipient: 'a…@example.com', status: 'pending' }], next: second } });
  expect(await ask('GET', `/v1/email-queue?status=pending&limit=1&after=${second}`)).toMatchObject({ body: { emails: [{ messageId: first }] } });
  const all = await ask('GET', '/v1/email-queue');
  expect(all).toMatchObject({
    body: { emails: [{ messageId: failed, status: 'failed', error: 'mailbox_refused', attempts: 1, failedAfterRetries: false }, {}, {}], next: null },
  });
  expect(JSON.stringify(all)).not.toContain('secret');
});

test('somebody is added to the suppression list, found by address, and taken off', async () => {
  const added = await ask('POST', '/v1/mail-suppressions', { address: 'Bob@Müller.example', reason: 'complaint' });
  expect(added).toMatchObject({ status: 201, body: { maskedAddress: 'B…@xn--mller-kva.example', reason: 'complaint', code: null } });
  const id = String(added.body['id']);
  expect(await createMailGuard(world.database).isSuppressed('bob@xn--mller-kva.example')).toBe(true);
  expect(await ask('GET', '/v1/mail-suppressions?address=bob@müller.example')).toMatchObject({ status: 200, body: { suppressions: [{ id }], next: null } });
  expect(await ask('GET', '/v1/mail-suppressions?limit=1')).toMatchObject({ body: { suppressions: [{ id }], next: id } });
  expect(await ask('GET', `/v1/mail-suppressions?limit=1&after=${id}`)).toMatchObject({ body: { suppressions: [] } });
  expect(await ask('DELETE', `/v1/mail-suppressions/${id}`, undefined, 'Bearer wrong')).toMatchObject({ status: 401 });
  expect(await ask('DELETE', `/v1/mail-suppressions/${id}`)).toEqual({ status: 200, body: { removed: 1 } });
  expect(await ask('DELETE', `/v1/mail-suppressions/${id}`)).toMatchObject({ status: 404, body: { error: 'not_found' } });
  expect(await createMailGuard(world.database).isSuppressed('bob@xn--mller-kva.example')).toBe(false);
});

test.each([
  ['GET', '/v1/email-queue?status=lost', undefined, 'status: expected pending, retrying, sent, failed, skipped'],
  ['GET', '/v1/email-queue?limit=0', undefined, 'limit:'],
  ['GET', '/v1/email-queue?sort=asc', undefined, 'sort: there is no such parameter'],
  ['GET', '/v1/mail-suppressions?address=nobody', undefined, 'address: expected one plain address'],
  ['GET', '/v1/mail-suppressions?after=1', undefined, 'after:'],
  ['POST', '/v1/mail-suppressions', { address: 'a@example.com, b@example.com' }, 'address:'],
  ['POST', '/v1/mail-suppressions', { address: 'a@example.com', reason: 'hard_bounce' }, 'reason: expected manual, complaint'],
  ['POST', '/v1/mail-suppressions', undefined, 'address:'],
  ['DELETE', '/v1/mail-suppressions/a@example.com', undefined, 'id:'],
])('a wrong request is 400 and named: %s %s %j', async (method, path, body, named) => {
  const answer = await ask(method, path, body);
  expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  expect(answer.body['message']).toContain(named);
});

test('nobody is added without the token', async () => {
  expect(await ask('POST', '/v1/mail-suppressions', { address: 'eve@example.com' }, 'Bearer wrong')).toMatchObject({ status: 401 });
  expect(await createMailGuard(world.database).isSuppressed('eve@example.com')).toBe(false);
});
