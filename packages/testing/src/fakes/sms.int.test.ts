import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stack, startStack } from '../stack.ts';

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ dir: join(tmpdir(), `backhaul-sms-${process.pid}`), only: ['fakes'] });
});

afterAll(() => stack.stop({ removeData: true }));

async function request(
  path: string,
  form?: Record<string, string>,
  secret?: string,
): Promise<{ status: number; headers: Headers; body: Record<string, unknown> }> {
  const { SMS_BASE_URL = '', SMS_API_KEY: account = '', SMS_API_SECRET = '' } = stack.env;
  const answer = await fetch(`${SMS_BASE_URL}/2010-04-01/Accounts/${account}/${path}`, {
    headers: { authorization: `Basic ${Buffer.from(`${account}:${secret ?? SMS_API_SECRET}`).toString('base64')}` },
    ...(form ? { method: 'POST', body: new URLSearchParams(form) } : {}),
  });
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> };
}

const send = (To: string, secret?: string): ReturnType<typeof request> =>
  request('Messages.json', { To, From: '+15005550006', Body: 'your code is 1234' }, secret);

test('a message is created, logged, and can be looked up', async () => {
  const created = await send('+4366012345678');
  expect(created).toMatchObject({ status: 201, body: { status: 'queued', to: '+4366012345678', error_code: null } });
  const { sid } = created.body;
  expect(await request(`Messages/${String(sid)}.json`)).toMatchObject({ status: 200, body: { sid, status: 'delivered' } });
  expect(await stack.fakes.effects({ service: 'sms' })).toMatchObject([{ kind: 'sms', key: '+4366012345678', sid, body: 'your code is 1234' }]);
});

test('a wrong secret, a wrong number and an unknown message are refused as the provider does', async () => {
  expect(await send('+4366012345678', 'wrong')).toMatchObject({ status: 401, body: { code: 20003 } });
  expect(await send('0660 12345')).toMatchObject({ status: 400, body: { code: 21211, more_info: 'https://www.twilio.com/docs/errors/21211' } });
  expect(await request('Messages/SMnone.json')).toMatchObject({ status: 404, body: { code: 20404 } });
});

test('opt-outs, rate limits and outages are scripted', async () => {
  await stack.fakes.script('sms', [
    { match: { to: '+4366000000001' }, action: { code: '21610' } },
    { match: { to: '+4366000000002' }, action: { status: 429, headers: { 'retry-after': '5' } } },
    { match: { to: '+4366000000003' }, nth: 2, action: { status: 500 } },
  ]);
  expect(await send('+4366000000001')).toMatchObject({ status: 400, body: { code: 21610 } });
  const limited = await send('+4366000000002');
  expect([limited.status, limited.body['code'], limited.headers.get('retry-after')]).toEqual([429, 20429, '5']);
  const statuses = [await send('+4366000000003'), await send('+4366000000003'), await send('+4366000000003')].map(({ status }) => status);
  expect(statuses).toEqual([201, 500, 201]);
});

test('a message whose answer is lost was sent', async () => {
  await stack.fakes.script('sms', [{ match: { to: '+4366000000009' }, action: { loseReply: true } }]);
  await expect(send('+4366000000009')).rejects.toThrow();
  expect(await stack.fakes.effects({ kind: 'sms', key: '+4366000000009' })).toHaveLength(1);
});
