import { createDeviceTokens } from '@backhaul/database';
import { createHealthServer, createMetrics, silentLogger } from '@backhaul/runtime';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerErrors, requireToken } from '../http-errors.ts';
import { deviceRoutes } from './devices.ts';

let world: TestDatabase;
let url = '';
let close: () => Promise<unknown>;

beforeAll(async () => {
  world = await testDatabase();
  const http = createHealthServer({ service: 'ops-api', log: silentLogger, metrics: createMetrics('ops-api'), onShutdown: () => undefined });
  http.app.use(deviceRoutes({ devices: createDeviceTokens(world.database), authorized: requireToken('the-token') }), answerErrors);
  const { port } = await http.listen('127.0.0.1', 0);
  close = () => http.close();
  url = `http://127.0.0.1:${port}`;
});
afterAll(async () => {
  await close();
  await world.close();
});

async function ask(method: string, path: string, body?: unknown, authorization = 'Bearer the-token') {
  const answer = await fetch(url + path, {
    method,
    headers: { authorization, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

const token = (name: string) => `${name}:APA91b${'x'.repeat(130)}-_${name}`;
const device = { token: token('first'), userId: 'ann', platform: 'android', locale: 'de-AT', appVersion: '4.2.0', sessionId: 's-1' };

test('A device is registered, shown without its token, and removed', async () => {
  const registered = await ask('PUT', '/v1/devices', device);
  expect(registered).toMatchObject({ status: 200, body: { userId: 'ann', platform: 'android', locale: 'de-AT', appVersion: '4.2.0', sessionId: 's-1' } });
  const listed = await ask('GET', '/v1/users/ann/devices');
  expect(listed).toMatchObject({ status: 200, body: { devices: [{ userId: 'ann', token: 'firs…irst', suspectSince: null }] } });
  expect(JSON.stringify([registered, listed])).not.toContain(device.token);
  expect(await ask('DELETE', `/v1/devices/${encodeURIComponent(device.token)}`)).toEqual({ status: 200, body: { removed: 1 } });
  expect(await ask('DELETE', `/v1/devices/${encodeURIComponent(device.token)}`)).toEqual({ status: 200, body: { removed: 0 } });
  expect(await ask('GET', '/v1/users/ann/devices')).toMatchObject({ body: { devices: [] } });
});

test.each([
  ['de-AT', 'de-AT'],
  ['es_mx', 'es-MX'],
  ['zh-hans-cn', 'zh-Hans-CN'],
  ['ar-u-nu-latn', 'ar-u-nu-latn'],
])('The language %s is kept as the tag %s', async (locale, kept) => {
  expect(await ask('PUT', '/v1/devices', { ...device, locale })).toMatchObject({ status: 200, body: { locale: kept } });
});

test('A device that somebody else signs in to is theirs alone', async () => {
  await ask('PUT', '/v1/devices', device);
  await ask('PUT', '/v1/devices', { ...device, userId: 'bob' });
  expect(await ask('GET', '/v1/users/ann/devices')).toMatchObject({ body: { devices: [] } });
  expect((await ask('GET', '/v1/users/bob/devices')).body['devices']).toHaveLength(1);
});

test('The devices of a session can be removed, or all of a user', async () => {
  const kept = { ...device, userId: 'eve' };
  for (const [name, sessionId] of Object.entries({ a: 's-1', b: 's-1', c: 's-2', d: undefined })) {
    await ask('PUT', '/v1/devices', { ...kept, token: token(name), userId: 'cem', sessionId });
  }
  await ask('PUT', '/v1/devices', { ...kept, token: token('e') });
  expect(await ask('DELETE', '/v1/users/cem/devices?sessionId=s-1')).toMatchObject({ body: { removed: 2 } });
  expect(await ask('DELETE', '/v1/users/cem/devices')).toMatchObject({ body: { removed: 2 } });
  expect((await ask('GET', '/v1/users/eve/devices')).body['devices']).toHaveLength(1);
});

test('What changes something needs the token', async () => {
  await ask('PUT', '/v1/devices', { ...device, userId: 'fay' });
  for (const [method, path] of [
    ['PUT', '/v1/devices'],
    ['DELETE', `/v1/devices/${encodeURIComponent(device.token)}`],
    ['DELETE', '/v1/users/fay/devices'],
  ] as const) {
    expect(await ask(method, path, method === 'PUT' ? { ...device, userId: 'mallory' } : undefined, 'Bearer wrong')).toMatchObject({ status: 401 });
  }
  expect((await ask('GET', '/v1/users/fay/devices')).body['devices']).toHaveLength(1);
});

test.each([
  ['no token', { ...device, token: undefined }, 'token:'],
  ['a token that is too long', { ...device, token: 'x'.repeat(4_097) }, 'token:'],
  ['a token with a NUL', { ...device, token: 'a\0b' }, 'token: must not have a NUL character'],
  ['another platform', { ...device, platform: 'symbian' }, 'platform: expected android, ios, web'],
  ['a language by its name', { ...device, locale: 'German (Austria)' }, 'locale: expected a language tag'],
  ['a language with a NUL', { ...device, locale: 'de\0' }, 'locale: expected a language tag'],
  ['an empty language', { ...device, locale: '' }, 'locale:'],
  ['an unknown field', { ...device, color: 'red' }, 'color: there is no such parameter'],
  ['a list', [device], 'object'],
  ['no JSON', '{', 'expected a JSON object'],
  ['no body', undefined, 'token:'],
])('A wrong registration is 400 and named: %s', async (_name, body, named) => {
  const answer = await ask('PUT', '/v1/devices', body);
  expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  expect(answer.body['message']).toContain(named);
});

test('A body that is too large is refused before it is read', async () => {
  expect(await ask('PUT', '/v1/devices', { ...device, locale: 'x'.repeat(20_000) })).toMatchObject({ status: 413, body: { error: 'too_large' } });
});
