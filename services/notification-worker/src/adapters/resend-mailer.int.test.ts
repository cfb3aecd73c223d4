import type { MailMessage, Mailer } from '@backhaul/jobs/notification';
import { type Action, freePort } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestChannels, startTestChannels } from '../test-channels.ts';

let servers: TestChannels;
let mailer: Mailer;

const resendOnly = { MAIL_PROVIDERS: 'resend' };

beforeAll(async () => {
  servers = await startTestChannels();
  mailer = (await servers.channels(resendOnly)).mail.providers[0].mailer;
}, 30_000);
afterAll(() => servers.close());
beforeEach(() => servers.fakes.reset());

const never = new AbortController().signal;
let keys = 0;
const message = (changes: Partial<MailMessage> = {}): MailMessage => ({
  to: 'ann@example.com',
  subject: 'Grüße 🎂',
  text: 'Dinner?\n',
  html: '<p>Dinner?</p>',
  messageIdLeft: `c0ffee${(keys += 1)}`,
  key: 'email:1',
  again: false,
  ...changes,
});
const effects = (kind: string) => servers.fakes.effects({ service: 'resend', kind });

test('a mail arrives with its parts, for one recipient, under the key of its send', async () => {
  const mail = message();
  const answer = await mailer.send(mail, never);
  const [sent, ...others] = await effects('mail');
  expect(others).toEqual([]);
  expect(answer).toEqual({ outcome: 'sent', providerId: sent?.['id'] });
  expect(sent).toMatchObject({
    from: '"Backhaul" <no-reply@backhaul.example>',
    to: ['ann@example.com'],
    subject: 'Grüße 🎂',
    idempotencyKey: mail.messageIdLeft,
    hasText: true,
    hasHtml: true,
    headers: { 'Auto-Submitted': 'auto-generated' },
  });
});

test('the resend after a lost answer is known there: one mail, and the id of the first', async () => {
  const mail = message();
  await servers.fakes.script('resend', [{ match: { operation: 'send' }, times: 1, action: { loseReply: true } }]);
  await expect(mailer.send(mail, never)).resolves.toMatchObject({ outcome: 'ambiguous' });
  const [sent] = await effects('mail');
  await expect(mailer.send({ ...mail, again: true }, never)).resolves.toEqual({ outcome: 'sent', providerId: sent?.['id'] });
  expect([(await effects('mail')).length, (await effects('replay')).length]).toEqual([1, 1]);
});

test('another text under the same key may have been sent before: nobody can say which', async () => {
  const mail = message();
  await mailer.send(mail, never);
  await expect(mailer.send({ ...mail, text: 'Lunch?\n' }, never)).resolves.toMatchObject({ outcome: 'ambiguous' });
  expect(await effects('mail')).toHaveLength(1);
});

test.each<[Action, object]>([
  [
    { code: 'rate_limit_exceeded', headers: { 'retry-after': '2' } },
    { outcome: 'deferred', code: 'rate_limited', retryAfterMs: 2_000 },
  ],
  [{ code: 'daily_quota_exceeded' }, { outcome: 'deferred', about: 'provider', code: 'quota_exceeded' }],
  [{ code: 'concurrent_idempotent_requests' }, { outcome: 'deferred', code: 'concurrent_send', retryAfterMs: 5_000 }],
  [{ code: 'invalid_api_key' }, { outcome: 'unauthorized' }],
  [{ status: 403, code: 'validation_error', body: 'The example.com domain is not verified.' }, { outcome: 'unauthorized' }],
  [{ status: 404 }, { outcome: 'unauthorized' }],
  [{ code: 'missing_required_field' }, { outcome: 'refused', about: 'message', code: 'mail_refused' }],
  [{ status: 400, body: '<html>' }, { outcome: 'refused' }],
  [{ status: 500 }, { outcome: 'ambiguous' }],
  [{ status: 502, body: '<html>' }, { outcome: 'ambiguous' }],
  [{ status: 503 }, { outcome: 'unavailable' }],
  [{ reset: true }, { outcome: 'ambiguous' }],
])('%o means %o, and nothing was sent', async (action, expected) => {
  await servers.fakes.script('resend', [{ match: { operation: 'send' }, action }]);
  await expect(mailer.send(message(), never)).resolves.toMatchObject(expected);
  expect(await effects('mail')).toEqual([]);
});

test('a provider that hangs is ambiguous when the time is over, one that is not there is unavailable', async () => {
  await servers.fakes.script('resend', [{ match: { operation: 'send' }, action: { hang: true } }]);
  await expect(mailer.send(message(), AbortSignal.timeout(300))).resolves.toMatchObject({ outcome: 'ambiguous' });
  const nobody = (await servers.channels({ ...resendOnly, RESEND_BASE_URL: `http://127.0.0.1:${await freePort()}` })).mail.providers[0].mailer;
  await expect(nobody.send(message(), never)).resolves.toMatchObject({ outcome: 'unavailable' });
});

test('a wrong key is unauthorized', async () => {
  const own = (await servers.channels({ ...resendOnly, RESEND_API_KEY: 're_wrong' })).mail.providers[0].mailer;
  await expect(own.send(message(), never)).resolves.toMatchObject({ outcome: 'unauthorized' });
});

test('F-21: line breaks and lists in any field are words of it or refused', async () => {
  await mailer.send(message({ subject: 'Hi\r\nBcc: eve@example.com', fromName: 'A\r\nBcc: eve@example.com" <eve@example.com>' }), never);
  expect((await effects('mail'))[0]).toMatchObject({
    to: ['ann@example.com'],
    subject: 'Hi Bcc: eve@example.com',
    from: String.raw`"A Bcc: eve@example.com\" <eve@example.com>" <no-reply@backhaul.example>`,
  });
  for (const to of ['ann@example.com, eve@example.com', 'ann@example.com\r\nBcc: eve@example.com', 'Ann <ann@example.com>'])
    await expect(mailer.send(message({ to }), never)).resolves.toMatchObject({ outcome: 'refused', code: 'invalid_address' });
  expect(await effects('mail')).toHaveLength(1);
});
