import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createPolicyFacts, createUserPolicy } from '@backhaul/database';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import express from 'express';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerErrors, requireToken } from '../http-errors.ts';
import { userPolicyRoutes } from './user-policy.ts';

let world: TestDatabase;
let server: Server;
beforeAll(async () => {
  world = await testDatabase();
  server = express()
    .use(userPolicyRoutes({ policy: createUserPolicy(world.database), authorized: requireToken('the-token') }), answerErrors)
    .listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
});
afterAll(async () => {
  server.close();
  await world.close();
});

async function ask(method: 'GET' | 'PUT' | 'DELETE', path: string, body?: unknown, token = 'the-token') {
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/users/${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(10_000),
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown) };
}

test('preferences are set, shown, replaced and taken back', async () => {
  const user = randomUUID();
  expect(await ask('GET', `${user}/preferences`)).toEqual({ status: 200, body: { preferences: [] } });
  expect(await ask('PUT', `${user}/preferences/push/marketing`, { enabled: true })).toEqual({ status: 204, body: undefined });
  await ask('PUT', `${user}/preferences/push/marketing`, { enabled: false });
  expect((await ask('GET', `${user}/preferences`)).body).toEqual({ preferences: [{ channel: 'push', category: 'marketing', enabled: false }] });
  expect((await ask('DELETE', `${user}/preferences/push/marketing`)).body).toEqual({ removed: true });
  expect((await ask('DELETE', `${user}/preferences/push/marketing`)).body).toEqual({ removed: false });
});

test('a mute has an end or none; one that is over is not shown', async () => {
  const user = randomUUID();
  const until = new Date(Date.now() + 3_600_000).toISOString();
  await ask('PUT', `${user}/mutes/family`, { until, exceptMentions: true });
  await ask('PUT', `${user}/mutes/work`);
  await ask('PUT', `${user}/mutes/old`, { until: '2020-01-01T00:00:00Z' });
  expect((await ask('GET', `${user}/mutes`)).body).toEqual({
    mutes: [
      { chatId: 'family', until, exceptMentions: true },
      { chatId: 'work', until: null, exceptMentions: false },
    ],
  });
  expect((await ask('DELETE', `${user}/mutes/work`)).body).toEqual({ removed: true });
});

test('quiet hours are shown as they were set, and on every day if no days are named', async () => {
  const user = randomUUID();
  expect((await ask('GET', `${user}/quiet-hours`)).body).toEqual({ quietHours: null });
  const hours = {
    timeZone: 'America/Sao_Paulo',
    windows: [
      { start: '22:30', end: '07:05', days: ['sat', 'sun'] },
      { start: '23:00', end: '06:00' },
    ],
  };
  expect((await ask('PUT', `${user}/quiet-hours`, hours)).status).toBe(204);
  const everyDay = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
  expect((await ask('GET', `${user}/quiet-hours`)).body).toEqual({
    quietHours: { ...hours, windows: [hours.windows[0], { ...hours.windows[1], days: everyDay }] },
  });
  expect((await ask('DELETE', `${user}/quiet-hours`)).body).toEqual({ removed: true });
});

test('what the chat app tells about a user becomes facts of the decisions about them', async () => {
  const user = randomUUID();
  const upTo = new Date(Date.now() - 1_000).toISOString();
  for (const path of ['left-chats/family', 'blocks/eve']) expect((await ask('PUT', `${user}/${path}`)).status).toBe(204);
  expect((await ask('PUT', `${user}/read-marks/family`, { upTo })).status).toBe(204);
  expect((await ask('PUT', `${user}/presence/laptop`, { seconds: 60 })).status).toBe(204);
  expect((await ask('GET', `${user}/left-chats`)).body).toEqual({ leftChats: ['family'] });
  expect((await ask('GET', `${user}/blocks`)).body).toEqual({ blocks: ['eve'] });
  const facts = async () =>
    (await createPolicyFacts(world.database)([{ messageId: 'm', userId: user, channel: 'push', chatId: 'family', senderId: 'eve' }]))[0];
  expect(await facts()).toMatchObject({ leftChat: true, senderBlocked: true, active: true, readUpTo: new Date(upTo) });
  for (const path of ['left-chats/family', 'blocks/eve', 'presence/laptop']) expect((await ask('DELETE', `${user}/${path}`)).body).toEqual({ removed: true });
  expect(await facts()).toMatchObject({ leftChat: false, senderBlocked: false, active: false });
});

test('whatever changes something needs the token', async () => {
  const user = randomUUID();
  for (const [method, path, body] of [
    ['PUT', 'preferences/push/all', { enabled: false }],
    ['DELETE', 'preferences/push/all', undefined],
    ['PUT', 'mutes/family', {}],
    ['DELETE', 'quiet-hours', undefined],
    ['PUT', 'presence/laptop', { seconds: 60 }],
  ] as const)
    expect(await ask(method, `${user}/${path}`, body, 'wrong')).toMatchObject({ status: 401, body: { error: 'unauthorized' } });
  expect((await ask('GET', `${user}/preferences`)).body).toEqual({ preferences: [] });
});

test.each([
  ['preferences/fax/all', { enabled: true }, 'channel: expected push, email, sms'],
  ['preferences/push/news', { enabled: true }, 'category: expected all, message'],
  ['preferences/push/all', {}, 'enabled'],
  ['preferences/push/all', { enabled: true, until: 1 }, 'until: there is no such parameter'],
  ['preferences/push/all', 'no json', 'expected a JSON object'],
  ['mutes/family', { until: 'tomorrow' }, 'until: expected an ISO 8601 time'],
  ['quiet-hours', { timeZone: 'Mars/Olympus', windows: [{ start: '22:00', end: '07:00' }] }, 'timeZone: expected an IANA time zone'],
  ['quiet-hours', { timeZone: 'UTC', windows: [{ start: '24:00', end: '07:00' }] }, 'windows.0.start: expected a time such as 22:00'],
  ['quiet-hours', { timeZone: 'UTC', windows: [{ start: '22:00', end: '22:00' }] }, 'start and end must differ'],
  ['quiet-hours', { timeZone: 'UTC', windows: [] }, 'windows'],
  ['presence/laptop', { seconds: 86_400 }, 'seconds'],
  [`mutes/${'x'.repeat(201)}`, {}, 'chatId'],
  ['mutes/%00', {}, 'chatId: must not have a NUL character'],
])('what cannot be is refused with its name: PUT %s', async (path, body, named) => {
  const answer = await ask('PUT', `${randomUUID()}/${path}`, body);
  expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  expect(JSON.stringify(answer.body)).toContain(named);
});
