import { brandOf, renderTemplate } from '@backhaul/jobs/templates';
import type { MailMessage, Mailer } from '@backhaul/jobs/notification';
import { type Action, type Effect, freePort } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestChannels, startTestChannels } from '../test-channels.ts';

let servers: TestChannels;
let mailer: Mailer;

beforeAll(async () => {
  servers = await startTestChannels();
  mailer = (await servers.channels()).mail.providers[0].mailer;
}, 30_000);
afterAll(() => servers.close());
beforeEach(() => servers.fakes.reset());

const message: MailMessage = {
  to: 'ann@example.com',
  subject: 'Grüße',
  text: 'Dinner?\n',
  html: '<p>Dinner?</p>',
  messageIdLeft: 'c0ffee',
  key: 'email:1',
  again: false,
};
const never = new AbortController().signal;
const headersOf = (mail: Effect | undefined) => (mail === undefined ? [] : (mail['headers'] as string[]));
const mails = () => servers.fakes.effects({ service: 'smtp', kind: 'mail' });

test('a mail arrives as text and HTML, to one recipient, with exactly the headers that it should have', async () => {
  await expect(mailer.send(message, never)).resolves.toEqual({ outcome: 'sent', providerId: '<c0ffee@backhaul.example>' });
  const [mail] = await mails();
  expect(mail).toMatchObject({
    key: 'ann@example.com',
    to: ['ann@example.com'],
    from: 'no-reply@backhaul.example',
    subject: 'Grüße',
    hasText: true,
    hasHtml: true,
    messageId: '<c0ffee@backhaul.example>',
  });
  const names = headersOf(mail)
    .map((line) => line.slice(0, line.indexOf(':')).toLowerCase())
    .toSorted();
  expect(names).toEqual(['auto-submitted', 'content-type', 'date', 'from', 'message-id', 'mime-version', 'subject', 'to']);
});

test('twice the same mail has the same Message-ID', async () => {
  await mailer.send(message, never);
  await mailer.send(message, never);
  expect((await mails()).map((mail) => mail['messageId'])).toEqual(['<c0ffee@backhaul.example>', '<c0ffee@backhaul.example>']);
});

test('F-21: line breaks in a subject or an address become no header and no recipient', async () => {
  await mailer.send({ ...message, subject: 'Hi\r\nBcc: eve@example.com\r\n\r\nbody' }, never);
  await expect(mailer.send({ ...message, to: 'ann@example.com>\r\nRCPT TO:<eve@example.com' }, never)).resolves.toMatchObject({
    outcome: 'refused',
    code: 'invalid_address',
  });
  const sent = await mails();
  expect(sent.map((mail) => mail['to'])).toEqual([['ann@example.com']]);
  expect(headersOf(sent[0]).filter((line) => /^bcc:/i.test(line))).toEqual([]);
});

test.each<[string, string, Action, object]>([
  ['D-15', 'greeting', { status: 421, body: 'busy' }, { outcome: 'deferred', about: 'provider', code: 'relay_busy', retryAfterMs: 300_000 }],
  ['D-15', 'mail', { status: 451 }, { outcome: 'deferred', code: 'mail_deferred', retryAfterMs: 300_000 }],
  ['D-15', 'mail', { status: 451, code: '4.3.0' }, { outcome: 'deferred', about: 'provider', code: 'relay_busy' }],
  ['D-15', 'rcpt', { status: 450, code: '4.2.0', body: 'Greylisted' }, { outcome: 'deferred', code: 'greylisted', retryAfterMs: 300_000 }],
  ['D-15', 'rcpt', { status: 451, code: '4.7.1', body: 'come back' }, { outcome: 'deferred', code: 'greylisted', retryAfterMs: 300_000 }],
  ['D-15', 'rcpt', { status: 452, code: '4.2.2', body: 'full' }, { outcome: 'deferred', code: 'mailbox_busy', retryAfterMs: 1_800_000 }],
  ['D-15', 'data', { status: 451 }, { outcome: 'deferred', code: 'mail_deferred', retryAfterMs: 300_000 }],
  ['D-15', 'message', { status: 452, code: '4.3.1' }, { outcome: 'deferred', about: 'provider', retryAfterMs: 300_000 }],
  ['D-15', 'message', { status: 421 }, { outcome: 'deferred', about: 'provider', retryAfterMs: 300_000 }],
  ['D-16', 'greeting', { status: 554, body: 'go away' }, { outcome: 'unauthorized' }],
  ['D-16', 'rcpt', { status: 550, code: '5.1.1' }, { outcome: 'refused', about: 'recipient', code: 'mailbox_refused', bounce: '5.1.1' }],
  ['D-16', 'rcpt', { status: 550, code: '5.2.1' }, { outcome: 'refused', about: 'recipient', bounce: '5.2.1' }],
  ['D-16', 'message', { status: 550, code: '5.1.10' }, { outcome: 'refused', about: 'recipient', bounce: '5.1.10' }],
  ['D-16', 'mail', { status: 550 }, { outcome: 'refused', about: 'message' }],
  ['D-16', 'message', { status: 552, code: '5.3.4' }, { outcome: 'refused', about: 'message', code: 'mail_refused' }],
  ['D-16', 'message', { status: 554 }, { outcome: 'refused', about: 'message', code: 'mail_refused' }],
  ['D-17', 'greeting', { reset: true }, { outcome: 'unavailable' }],
  ['D-17', 'rcpt', { reset: true }, { outcome: 'unavailable' }],
  ['D-17', 'data', { reset: true }, { outcome: 'unavailable' }],
  ['D-18', 'message', { reset: true }, { outcome: 'ambiguous' }],
])('%s: at %s, %o means %o', async (_id, step, action, expected) => {
  // A connection of its own: a pooled one has passed the greeting.
  const own = (await servers.channels()).mail.providers[0].mailer;
  await servers.fakes.script('smtp', [{ match: { step }, action }]);
  await expect(own.send(message, AbortSignal.timeout(15_000))).resolves.toMatchObject(expected);
  expect(await mails()).toEqual([]);
});

test.each<[string, Action]>([
  ['rcpt', { status: 550 }],
  ['rcpt', { status: 550, code: '5.7.1', body: 'your network is on a list; see 5.1.1' }],
  ['rcpt', { status: 552, code: '5.2.2', body: 'mailbox full' }],
  ['rcpt', { status: 551, code: '5.4.1' }],
  ['mail', { status: 550, code: '5.1.8', body: 'bad sender' }],
  ['mail', { status: 550, code: '5.1.1', body: 'no such sender' }],
  ['message', { status: 552, code: '5.3.4', body: 'too big' }],
  ['message', { status: 554, code: '5.7.0', body: 'spam' }],
])('D-16: at %s, %o says nothing of the mailbox: nobody is suppressed for it', async (step, action) => {
  const own = (await servers.channels()).mail.providers[0].mailer;
  await servers.fakes.script('smtp', [{ match: { step }, action }]);
  const delivery = await own.send(message, never);
  expect(delivery.outcome).toBe('refused');
  expect(delivery).not.toHaveProperty('bounce');
});

test('D-18: a reply that is lost after the final dot is ambiguous, and the mail was taken once', async () => {
  await servers.fakes.script('smtp', [{ match: { step: 'message' }, times: 1, action: { loseReply: true } }]);
  await expect(mailer.send(message, never)).resolves.toMatchObject({ outcome: 'ambiguous' });
  expect(await mails()).toHaveLength(1);
});

test('D-19: a relay that never greets is unavailable within the time of the send', async () => {
  const own = (await servers.channels()).mail.providers[0].mailer;
  await servers.fakes.script('smtp', [{ match: { step: 'greeting' }, action: { hang: true } }]);
  await expect(own.send(message, AbortSignal.timeout(500))).resolves.toMatchObject({ outcome: 'unavailable' });
});

test('a relay that is silent after the final dot is ambiguous', async () => {
  await servers.fakes.script('smtp', [{ match: { step: 'message' }, times: 1, action: { hang: true } }]);
  await expect(mailer.send(message, AbortSignal.timeout(500))).resolves.toMatchObject({ outcome: 'ambiguous' });
  // The pool is not held by the one that hangs.
  await expect(mailer.send(message, never)).resolves.toMatchObject({ outcome: 'sent' });
});

test('a wrong password is unauthorized', async () => {
  const own = (await servers.channels({ SMTP_PASSWORD: 'wrong' })).mail.providers[0].mailer;
  await expect(own.send(message, never)).resolves.toMatchObject({ outcome: 'unauthorized' });
});

test('nobody listening is unavailable', async () => {
  const own = (await servers.channels({ SMTP_PORT: String(await freePort()) })).mail.providers[0].mailer;
  await expect(own.send(message, never)).resolves.toMatchObject({ outcome: 'unavailable' });
});

test('with SMTP_TLS=required no password and no mail goes to a relay without STARTTLS or with a false certificate', async () => {
  const own = (await servers.channels({ SMTP_TLS: 'required' })).mail.providers[0].mailer;
  const authBefore = (await servers.fakes.traffic()).smtp.requests['auth'];
  await expect(own.send(message, never)).resolves.toMatchObject({ outcome: 'unavailable' });
  await servers.fakes.script('smtp', [{ match: { step: 'ehlo' }, action: { status: 250, body: 'no-starttls' } }]);
  await expect(own.send(message, never)).resolves.toMatchObject({ outcome: 'unavailable' });
  expect((await servers.fakes.traffic()).smtp.requests['auth']).toBe(authBefore);
  expect(await mails()).toEqual([]);
});

test('with SMTP_TLS=opportunistic a mail is encrypted if the relay can, and goes out if it cannot', async () => {
  const own = (await servers.channels({ SMTP_TLS: 'opportunistic' })).mail.providers[0].mailer;
  const startTlsBefore = (await servers.fakes.traffic()).smtp.requests['starttls'] ?? 0;
  await expect(own.send(message, never)).resolves.toMatchObject({ outcome: 'sent' });
  expect((await servers.fakes.traffic()).smtp.requests['starttls']).toBe(startTlsBefore + 1);
  const plain = (await servers.channels({ SMTP_TLS: 'opportunistic' })).mail.providers[0].mailer;
  await servers.fakes.script('smtp', [{ match: { step: 'ehlo' }, action: { status: 250, body: 'no-starttls' } }]);
  await expect(plain.send(message, never)).resolves.toMatchObject({ outcome: 'sent' });
});

test('F-21: a mail from a template arrives as it was made: long lines, names in other scripts, and a sender name of its own', async () => {
  const file = `Übersicht 報告 אמא \r\nBcc: eve@example.com ${'long '.repeat(30)}`;
  const mail = renderTemplate(
    'media-ready',
    { file, url: `https://chat.example/${'x'.repeat(1_500)}` },
    { locale: 'de', brand: brandOf(undefined, undefined) },
  );
  if ('code' in mail) throw new Error(mail.detail);
  await expect(mailer.send({ ...message, ...mail, fromName: 'Acmé, Inc. 報告' }, never)).resolves.toMatchObject({ outcome: 'sent' });
  const [sent] = await mails();
  expect(sent).toMatchObject({ to: ['ann@example.com'], from: 'no-reply@backhaul.example', subject: mail.subject, hasText: true, hasHtml: true });
  expect(String(sent?.['text']).trimEnd()).toBe(mail.text.slice(0, 2_000).trimEnd());
  expect(headersOf(sent).filter((line) => /^bcc:/i.test(line))).toEqual([]);
});
