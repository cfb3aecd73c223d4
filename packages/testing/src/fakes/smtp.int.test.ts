import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTransport } from 'nodemailer';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Stack, startStack } from '../stack.ts';
import type { Rule } from './rules.ts';

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ dir: join(tmpdir(), `backhaul-smtp-${process.pid}`), only: ['fakes'] });
});

afterAll(() => stack.stop({ removeData: true }));
afterEach(() => stack.fakes.reset());

function transport(
  more: { ignoreTLS?: boolean; requireTLS?: boolean; tls?: { ca: string }; greetingTimeout?: number; socketTimeout?: number } = { ignoreTLS: true },
) {
  const { SMTP_HOST: host = '', SMTP_PORT = '', SMTP_USER: user = '', SMTP_PASSWORD: pass = '' } = stack.env;
  return createTransport({ host, port: Number(SMTP_PORT), auth: { user, pass }, ...more });
}

const mail = {
  from: 'Backhaul <no-reply@backhaul.example>',
  subject: 'Grüße',
  text: '.a line with a dot\n..two',
  html: '<p>hello</p>',
  messageId: '<m-1@backhaul.example>',
};

test('a mail is taken, parsed, and kept as a file', async () => {
  const { response } = await transport().sendMail({ ...mail, to: ['a@example.com', 'b@example.com'] });
  expect(response).toMatch(/^250 2\.0\.0 OK queued as \d+$/);
  const effect = await stack.fakes.waitFor(({ service }) => service === 'smtp');
  expect(effect).toMatchObject({
    kind: 'mail',
    key: 'a@example.com,b@example.com',
    from: 'no-reply@backhaul.example',
    subject: 'Grüße',
    messageId: '<m-1@backhaul.example>',
    hasText: true,
    hasHtml: true,
    text: '.a line with a dot\n..two',
  });
  expect(readFileSync(String(effect['file']), 'utf8')).toContain('Message-ID: <m-1@backhaul.example>');
});

test('only the right password may send', async () => {
  const { SMTP_HOST: host = '', SMTP_PORT = '' } = stack.env;
  const stranger = createTransport({ host, port: Number(SMTP_PORT), ignoreTLS: true, auth: { user: 'backhaul', pass: 'guess' } });
  await expect(stranger.sendMail({ ...mail, to: 'a@example.com' })).rejects.toMatchObject({ code: 'EAUTH', responseCode: 535 });
  const anonymous = createTransport({ host, port: Number(SMTP_PORT), ignoreTLS: true });
  await expect(anonymous.sendMail({ ...mail, to: 'a@example.com' })).rejects.toMatchObject({ responseCode: 530 });
});

test('STARTTLS works with the right certificate and fails without it', async () => {
  const ca = readFileSync(stack.env['FCM_CA_FILE'] ?? '', 'utf8');
  await transport({ requireTLS: true, tls: { ca } }).sendMail({ ...mail, to: 'tls@example.com' });
  await expect(transport({ requireTLS: true }).sendMail({ ...mail, to: 'tls@example.com' })).rejects.toThrow(/self-signed/);
  await stack.fakes.script('smtp', [{ match: { step: 'ehlo' }, action: { status: 250, body: 'no-starttls' } }]);
  await expect(transport({ requireTLS: true, tls: { ca } }).sendMail({ ...mail, to: 'tls@example.com' })).rejects.toThrow(/STARTTLS|TLS/);
});

test.each([
  ['greeting', 421],
  ['ehlo', 502],
  ['auth', 454],
  ['mail', 451],
  ['rcpt', 450],
  ['rcpt', 550],
  ['data', 452],
  ['message', 554],
])('the step %s is refused with %d', async (step, status) => {
  await stack.fakes.script('smtp', [{ match: { step }, action: { status, code: `${String(status)[0]}.0.0`, body: 'scripted' } }]);
  await expect(transport().sendMail({ ...mail, to: 'a@example.com' })).rejects.toMatchObject({ responseCode: status });
  const kinds = (await stack.fakes.effects({ service: 'smtp' })).map(({ kind }) => kind);
  expect(kinds).not.toContain('mail');
});

test('of two recipients, one is refused', async () => {
  await stack.fakes.script('smtp', [{ match: { step: 'rcpt', to: 'gone@*' }, action: { status: 550, code: '5.1.1', body: 'no such user' } }]);
  const { accepted, rejected } = await transport().sendMail({ ...mail, to: ['a@example.com', 'gone@example.com'] });
  expect([accepted, rejected]).toEqual([['a@example.com'], ['gone@example.com']]);
});

test('a lost answer to the final dot leaves a delivered mail', async () => {
  await stack.fakes.script('smtp', [{ match: { step: 'message' }, action: { loseReply: true } }]);
  await expect(transport().sendMail({ ...mail, to: 'a@example.com' })).rejects.toThrow();
  expect(await stack.fakes.effects({ kind: 'mail', key: 'a@example.com' })).toHaveLength(1);
});

const silent: [string, Rule][] = [
  ['a greeting that never comes', { match: { step: 'greeting' }, action: { hang: true } }],
  ['a greeting of one byte per second', { match: { step: 'greeting' }, action: { bytesPerSecond: 1 } }],
  ['a reply to DATA that never comes', { match: { step: 'data' }, action: { hang: true } }],
  ['a connection reset at MAIL', { match: { step: 'mail' }, action: { reset: true } }],
];

test.each(silent)('%s ends by the timeouts of the client', async (_name, rule) => {
  await stack.fakes.script('smtp', [rule]);
  const impatient = transport({ ignoreTLS: true, greetingTimeout: 300, socketTimeout: 300 });
  await expect(impatient.sendMail({ ...mail, to: 'a@example.com' })).rejects.toMatchObject({
    code: expect.stringMatching(/ETIMEDOUT|ECONNECTION|ECONNRESET|ESOCKET/) as string,
  });
});
