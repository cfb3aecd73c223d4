import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerErrors } from '../http-errors.ts';
import { templateRoutes } from './templates.ts';

let server: Server;
const get = (path: string) => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, { signal: AbortSignal.timeout(10_000) });

beforeAll(async () => {
  server = express().use(templateRoutes(), answerErrors).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
});
afterAll(() => void server.close());

test('a preview is the mail in the language that was asked for, and may run nothing', async () => {
  const response = await get('/v1/templates/otp/preview?locale=de-AT');
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^text\/html/);
  expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none';.*sandbox$/);
  expect(await response.text()).toContain('Dein Code');
});

test('the list has every template with its example; an unknown one is not found, an unknown parameter refused', async () => {
  const { templates } = (await (await get('/v1/templates')).json()) as { templates: { name: string }[] };
  expect(templates.map(({ name }) => name)).toEqual(expect.arrayContaining(['welcome', 'generic']));
  expect((await get('/v1/templates/none/preview')).status).toBe(404);
  expect((await get('/v1/templates/otp/preview?lang=de')).status).toBe(400);
});
