import { expect, test } from 'vitest';
import { opsApiConfig } from './config.ts';

const base = { DATABASE_URL: 'postgres://127.0.0.1/chat', REDIS_URL: 'redis://127.0.0.1' };
const problems = (env: Record<string, string>) =>
  Object.fromEntries((opsApiConfig.safeParse({ ...base, ...env }).error?.issues ?? []).map(({ path, message }) => [path.join('.'), message]));

test('reports of the provider are taken only with what they are signed with', () => {
  expect(problems({})).toEqual({});
  expect(problems({ SMS_API_SECRET: 'token' })).toEqual({});
  expect(problems({ SMS_API_SECRET: 'token', SMS_WEBHOOK_BASE_URL: 'https://hooks.chat.example' })).toEqual({});
  expect(Object.keys(problems({ SMS_WEBHOOK_BASE_URL: 'https://hooks.chat.example' }))).toEqual(['SMS_API_SECRET']);
  expect(Object.keys(problems({ SMS_API_SECRET: 'token', SMS_WEBHOOK_BASE_URL: 'hooks.chat.example' }))).toEqual(['SMS_WEBHOOK_BASE_URL']);
});
