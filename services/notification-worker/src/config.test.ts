import { generateKeyPairSync } from 'node:crypto';
import { type InvalidConfig, loadConfig } from '@backhaul/runtime';
import { expect, test } from 'vitest';
import { notificationWorkerConfig } from './config.ts';

const base = { DATABASE_URL: 'postgres://user@127.0.0.1/db' };
const pem = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
}).privateKey;
const firebase = { FIREBASE_PROJECT_ID: 'p', FIREBASE_CLIENT_EMAIL: 'a@p.iam', FIREBASE_PRIVATE_KEY: pem };

function problems(env: Record<string, string>): Record<string, string> {
  try {
    loadConfig(notificationWorkerConfig, { ...base, ...env });
    return {};
  } catch (error) {
    return Object.fromEntries((error as InvalidConfig).problems.map(({ variable, problem }) => [variable, problem]));
  }
}

test('the worker starts without any channel', () => {
  expect(loadConfig(notificationWorkerConfig, base)).toMatchObject({
    NOTIFICATION_CONCURRENCY: 5,
    SMTP_TLS: 'required',
    SMTP_PORT: 587,
    SMS_BASE_URL: 'https://api.twilio.com',
  });
});

test('half a channel is refused, and the missing half is named', () => {
  expect(problems({ FIREBASE_PROJECT_ID: 'p' })).toEqual({
    FIREBASE_CLIENT_EMAIL: 'is required when FIREBASE_PROJECT_ID is set',
    FIREBASE_PRIVATE_KEY: 'is required when FIREBASE_PROJECT_ID is set',
  });
  expect(problems({ SMTP_HOST: 'relay' })).toEqual({ SMTP_FROM: 'is required when SMTP_HOST is set' });
  expect(problems({ SMTP_USER: 'me' })).toEqual({ SMTP_PASSWORD: 'is required when SMTP_USER is set' });
  expect(problems({ SMS_API_KEY: 'AC1', SMS_FROM_NUMBER: '+15005550006' })).toEqual({
    SMS_API_SECRET: 'is required when SMS_API_KEY and SMS_FROM_NUMBER are set',
  });
  expect(Object.keys(problems({ WHATSAPP_FROM_NUMBER: '+15005550007' }))).toEqual(['SMS_FROM_NUMBER']);
});

test('a private key may have its line breaks written as \\n', () => {
  expect(loadConfig(notificationWorkerConfig, { ...base, ...firebase, FIREBASE_PRIVATE_KEY: pem.replaceAll('\n', '\\n') }).FIREBASE_PRIVATE_KEY).toBe(pem);
});

test('a key that is none is refused without being printed', () => {
  const found = problems({ ...firebase, FIREBASE_PRIVATE_KEY: 'c2VjcmV0' });
  expect(found['FIREBASE_PRIVATE_KEY']).toMatch(/PEM/);
  expect(JSON.stringify(found)).not.toContain('c2VjcmV0');
});

test.each([
  ['no-reply@example.com', { name: '', address: 'no-reply@example.com' }],
  ['Backhaul <no-reply@example.com>', { name: 'Backhaul', address: 'no-reply@example.com' }],
  ['"Back, haul" <no-reply@example.com>', { name: 'Back, haul', address: 'no-reply@example.com' }],
])('SMTP_FROM %s is read', (from, expected) => {
  expect(loadConfig(notificationWorkerConfig, { ...base, SMTP_HOST: 'relay', SMTP_FROM: from }).SMTP_FROM).toEqual(expected);
});

test.each(['nobody', 'a@example.com, b@example.com', 'Name <a@example.com', 'Name\r\nBcc: x <a@example.com>'])('SMTP_FROM %o is refused', (from) => {
  expect(problems({ SMTP_HOST: 'relay', SMTP_FROM: from })).toHaveProperty('SMTP_FROM');
});

test('settings that cannot work are refused by name', () => {
  expect(
    Object.keys(
      problems({ SMTP_TLS: 'maybe', SMS_FROM_NUMBER: '12', SMS_BASE_URL: 'ftp://x', FCM_BASE_URL: 'http://x', NOTIFICATION_CONCURRENCY: '0' }),
    ).toSorted(),
  ).toEqual(['FCM_BASE_URL', 'NOTIFICATION_CONCURRENCY', 'SMS_BASE_URL', 'SMS_FROM_NUMBER', 'SMTP_TLS']);
  expect(problems({ FCM_CA_FILE: '/ca.pem' })).toEqual({ FCM_CA_FILE: 'is set without FCM_BASE_URL: set both or neither' });
});

test('a mail password never travels in clear text in production', () => {
  const env = { SMTP_HOST: 'relay', SMTP_FROM: 'a@example.com', SMTP_USER: 'me', SMTP_PASSWORD: 'x', SMTP_TLS: 'off' };
  expect(problems({ ...env, NODE_ENV: 'production' })).toHaveProperty('SMTP_TLS');
  expect(problems(env)).toEqual({});
});

test('numbers without a plus sign are read in a country that exists, or in none', () => {
  expect(loadConfig(notificationWorkerConfig, base).SMS_DEFAULT_COUNTRY).toBeUndefined();
  expect(loadConfig(notificationWorkerConfig, { ...base, SMS_DEFAULT_COUNTRY: 'DE' }).SMS_DEFAULT_COUNTRY).toBe('DE');
  expect(problems({ SMS_DEFAULT_COUNTRY: 'Germany' })).toEqual({ SMS_DEFAULT_COUNTRY: 'expected a country such as DE' });
});

test('mail goes through the providers that are named, and each that is named has its settings', () => {
  const from = 'no-reply@example.com';
  expect(problems({ SMTP_FROM: from, RESEND_API_KEY: 're_1' })).toEqual({});
  expect(problems({ SMTP_FROM: from, RESEND_API_KEY: 're_1', MAIL_PROVIDERS: 'smtp,resend' })).toEqual({
    SMTP_HOST: 'is required when MAIL_PROVIDERS names smtp',
  });
  expect(problems({ RESEND_API_KEY: 're_1' })).toEqual({ SMTP_FROM: 'is required when RESEND_API_KEY is set' });
  expect(problems({ SMTP_HOST: 'relay', SMTP_FROM: from, MAIL_PROVIDERS: 'resend' })).toEqual({
    RESEND_API_KEY: 'is required when MAIL_PROVIDERS names resend',
  });
  for (const names of ['pigeon', 'smtp,smtp', 'smtp,'])
    expect(problems({ SMTP_HOST: 'relay', SMTP_FROM: from, MAIL_PROVIDERS: names })).toHaveProperty('MAIL_PROVIDERS');
  expect(loadConfig(notificationWorkerConfig, { ...base, SMTP_HOST: 'relay', SMTP_FROM: from, MAIL_PROVIDERS: 'smtp' })).toMatchObject({
    MAIL_PROVIDERS: ['smtp'],
    MAIL_PER_MINUTE: 0,
    MAIL_BREAKER_FAILURES: 5,
    MAIL_BREAKER_SECONDS: 30,
  });
});
