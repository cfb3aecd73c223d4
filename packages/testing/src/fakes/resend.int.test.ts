import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EffectLog } from './effect-log.ts';
import { resendFake } from './resend.ts';

let now = 0;
let dir: string;
let log: EffectLog;
let fake: ReturnType<typeof resendFake>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backhaul-resend-'));
  log = new EffectLog(join(dir, 'effects.ndjson'));
  fake = resendFake({ log, account: { apiKey: 're_key' }, now: () => now });
  await new Promise<void>((resolve) => fake.server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  fake.server.closeAllConnections();
  fake.server.close();
  await rm(dir, { recursive: true });
});

async function send(mail: object, headers: Record<string, string> = {}) {
  const answer = await fetch(`http://127.0.0.1:${(fake.server.address() as AddressInfo).port}/emails`, {
    method: 'POST',
    headers: { authorization: 'Bearer re_key', 'content-type': 'application/json', ...headers },
    body: JSON.stringify(mail),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
const mail = { from: 'a@example.com', to: ['b@example.com'], subject: 'Hi', text: 'Hi' };

test('a key is known for 24 hours: the same request gets the first answer, another one is refused; after that it is a new one', async () => {
  const key = { 'idempotency-key': 'k1' };
  const first = await send(mail, key);
  expect(first).toMatchObject({ status: 200, body: { id: expect.any(String) as string } });
  now += 24 * 3_600_000 - 1;
  expect(await send(mail, key)).toEqual(first);
  expect(await send({ ...mail, subject: 'Other' }, key)).toMatchObject({ status: 409, body: { name: 'invalid_idempotent_request' } });
  expect(log.find({ service: 'resend', kind: 'mail' })).toHaveLength(1);
  now += 1;
  expect((await send(mail, key)).body['id']).not.toBe(first.body['id']);
  expect(log.find({ service: 'resend', kind: 'mail' })).toHaveLength(2);
});

test('without a key, with a wrong one, or without a field it answers as Resend does', async () => {
  expect(await send(mail, { authorization: 'Bearer nobody' })).toMatchObject({ status: 403, body: { name: 'invalid_api_key' } });
  expect(await send({ ...mail, to: [] })).toMatchObject({ status: 422, body: { name: 'missing_required_field' } });
  expect(await send(mail, { 'idempotency-key': 'k'.repeat(257) })).toMatchObject({ status: 400, body: { name: 'invalid_idempotency_key' } });
  fake.rules.add(1, [{ match: { to: 'b@example.com' }, times: 1, action: { code: 'rate_limit_exceeded' } }]);
  expect(await send(mail)).toMatchObject({ status: 429, body: { name: 'rate_limit_exceeded', statusCode: 429 } });
});
