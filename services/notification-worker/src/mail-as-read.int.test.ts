import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type NotificationPorts, notificationHandlers } from '@backhaul/jobs/notification';
import { mailTemplates } from '@backhaul/jobs/templates';
import { createMetrics, silentLogger } from '@backhaul/runtime';
import { type Effect, eventually } from '@backhaul/testing';
import { type AddressObject, type ParsedMail, simpleParser } from 'mailparser';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPorts } from './ports.ts';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

// From the job's payload to what a mail program reads: the handler, the real adapter, a socket, and another's parser.

let servers: TestChannels;
let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let ports: NotificationPorts;

const brands = {
  default: { name: 'Chat', color: '#1f6feb' },
  acme: { name: 'Acme', color: '#ffcc00', senderName: 'Ächmé, "Inc." <eve@example.com>', logoUrl: 'https://acme.example/logo.png' },
};

beforeAll(async () => {
  servers = await startTestChannels();
  testDatabase = await createTestDatabase();
  ports = createPorts({ channels: await servers.channels(), database: testDatabase.database, log: silentLogger, metrics: createMetrics('test'), brands });
});
afterAll(async () => {
  await servers.close();
  await testDatabase.close();
});
beforeEach(() => servers.fakes.reset());

type Payload = Parameters<(typeof notificationHandlers)['notification.send-email']>[0];

function send(changes: Partial<Payload>, messageId: string = randomUUID()) {
  const payload: Payload = { type: 'email', userId: randomUUID(), title: 'Family', body: 'Dinner?', email: 'ann@example.com', ...changes };
  const context = { ports, signal: new AbortController().signal, log: silentLogger, messageId, attempt: 1, lastTry: false, progress() {} };
  return notificationHandlers['notification.send-email'](payload, context);
}

interface Mail {
  readonly recipients: unknown;
  readonly raw: string;
  readonly parsed: ParsedMail;
}

async function read(effect: Effect): Promise<Mail> {
  const raw = await readFile(String(effect['file']));
  return { recipients: effect['to'], raw: raw.toString('latin1'), parsed: await simpleParser(raw) };
}

/** The mails that came, each as its parser reads it. */
async function mails(): Promise<Mail[]> {
  return Promise.all((await servers.fakes.effects({ service: 'smtp', kind: 'mail' })).map(read));
}
async function theMail(): Promise<Mail> {
  const [mail, ...others] = await mails();
  if (mail === undefined || others.length > 0) throw new Error(`expected one mail, there are ${others.length + (mail === undefined ? 0 : 1)}`);
  return mail;
}
const addresses = (header: AddressObject | AddressObject[] | undefined) => [header ?? []].flat().flatMap(({ value }) => value);
const headerNames = ({ parsed }: Mail) => parsed.headerLines.map(({ key }) => key).toSorted();
/** What every mail has, once each, and nothing else. */
const headersOfMail = ['auto-submitted', 'content-type', 'date', 'from', 'message-id', 'mime-version', 'subject', 'to'];

test('a mail is read as it was meant: who, to whom, what, when, as text and as HTML', async () => {
  const before = Date.now() - 1_000;
  await expect(send({ title: 'Dinner', body: 'On Sunday?\n\nMom' })).resolves.toMatchObject({ status: 'done' });
  const mail = await theMail();
  const { parsed } = mail;
  expect(headerNames(mail)).toEqual(headersOfMail);
  expect(mail.recipients).toEqual(['ann@example.com']);
  expect(addresses(parsed.to)).toEqual([{ name: '', address: 'ann@example.com' }]);
  expect(addresses(parsed.from)).toEqual([{ name: 'Backhaul', address: 'no-reply@backhaul.example' }]);
  expect([parsed.cc, parsed.bcc, parsed.attachments]).toEqual([undefined, undefined, []]);
  expect(parsed.subject).toBe('Dinner');
  expect(parsed.messageId).toMatch(/^<[0-9a-f]{32}@backhaul\.example>$/);
  expect(parsed.date?.getTime()).toBeGreaterThan(before);
  expect(parsed.text).toBe('Dinner\n\nOn Sunday?\n\nMom\n');
  expect(parsed.html).toContain('<p dir="auto">On Sunday?</p>');
  // The last alternative that a program can show is the one that it shows (RFC 2046, 5.1.4).
  expect(mail.raw.indexOf('text/plain')).toBeLessThan(mail.raw.indexOf('text/html'));
});

test.each(mailTemplates.flatMap(({ name, example }) => ['en', 'de', 'es'].map((locale) => ({ name, locale, example }))))(
  '$name in $locale survives the wire: both parts, in lines that a relay takes',
  async ({ name, locale, example }) => {
    await send({ template: name, templateData: example as Record<string, unknown>, locale });
    const { raw, parsed } = await theMail();
    expect(parsed.html).toContain(`lang="${locale}"`);
    expect((parsed.text ?? '').length).toBeGreaterThan(20);
    for (const part of [parsed.subject, parsed.text, parsed.html]) expect(part).not.toMatch(/\uFFFD|=\?utf-8|=C3=/i);
    // RFC 5322, 2.1.1; and nothing that a relay without 8BITMIME would have to rewrite.
    expect(Math.max(...raw.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(998);
    expect([...raw].every((character) => character < '\u0080')).toBe(true);
  },
);

test.each([
  'Grüße aus Köln – schön!',
  '🎂 Alles Gute 👩‍👩‍👧',
  '報告書',
  'שלום',
  'ü'.repeat(180),
  `${'a'.repeat(70)} ${'é'.repeat(70)}`,
  '=?utf-8?Q?Bcc=3A_eve?=',
  `=?utf-8?Q?a?= ${'🎂'.repeat(60)} b`,
])('the subject %s is read as it was written', async (title) => {
  await send({ title });
  const { parsed } = await theMail();
  expect(parsed.subject).toBe(title);
});

test.each([
  ['jörg@müller.example', undefined],
  ['joerg@müller.example', 'joerg@xn--mller-kva.example'],
  ['ann@例え.jp', 'ann@xn--r8jz45g.jp'],
  ['Ann+Tag@EXAMPLE.com', 'Ann+Tag@example.com'],
])('the address %s becomes %s', async (email, expected) => {
  const sent = send({ email });
  if (expected === undefined) await expect(sent).rejects.toMatchObject({ code: 'invalid_address' });
  else {
    await sent;
    const mail = await theMail();
    expect(mail.recipients).toEqual([expected]);
    // As it stands there: the parser turns it back into what people read.
    expect(mail.raw).toContain(`\r\nTo: ${expected}\r\n`);
  }
});

const injections = [
  '\r\nBcc: eve@example.com',
  '\nBcc: eve@example.com\n\nbody',
  '\r\n.\r\nRCPT TO:<eve@example.com>\r\nDATA\r\n',
  '\u0000\u0085\u2028Bcc: eve@example.com',
];
const words = (text: string) => ({
  title: { title: text },
  body: { body: text },
  userId: { userId: text },
  locale: { locale: text },
  timeZone: { timeZone: text },
  tenant: { tenant: text },
  data: { data: { [text]: text } },
  'a name in a template': { template: 'welcome', templateData: { name: `Ann${text}`, url: 'https://chat.example/' } },
  'a file in a template': {
    template: 'media-failed',
    templateData: { file: `a${text}`, reason: text, at: '2026-11-26T07:42:00Z', url: 'https://chat.example/' },
  },
});
test.each(injections.flatMap((text) => Object.entries(words(text)).map(([field, changes]) => ({ field, changes, text }))))(
  'F-21: $text in $field is no header, no recipient and no command',
  async ({ changes }) => {
    // Some fields do not take it at all; what counts is what comes of it.
    await send(changes).catch((error: unknown) => expect(error).toMatchObject({ name: 'PermanentFailure' }));
    for (const mail of await mails()) {
      expect(headerNames(mail)).toEqual(headersOfMail);
      expect(mail.recipients).toEqual(['ann@example.com']);
      expect(addresses(mail.parsed.to)).toEqual([{ name: '', address: 'ann@example.com' }]);
      expect(mail.parsed.subject).not.toMatch(/[\r\n\0]/);
    }
    expect((await mails()).length).toBeLessThanOrEqual(1);
  },
);

test('a tenant’s sender name is a name, whatever it looks like', async () => {
  await send({ tenant: 'acme', title: 'x' });
  const mail = await theMail();
  expect(addresses(mail.parsed.from)).toEqual([{ name: 'Ächmé, "Inc." <eve@example.com>', address: 'no-reply@backhaul.example' }]);
  expect(headerNames(mail)).toEqual(headersOfMail);
});

test.each([
  'ann@example.com, eve@example.com',
  'ann@example.com;eve@example.com',
  'ann@example.com eve@example.com',
  'friends: ann@example.com, eve@example.com;',
  'Ann <ann@example.com>',
  '"ann@example.com, eve"@example.com',
  'ann@example.com\r\nCc: eve@example.com',
  'ann@example.com,'.repeat(20),
])('F-21: no list can be made of the address %o', async (email) => {
  await expect(send({ email })).rejects.toMatchObject({ name: 'PermanentFailure', code: 'invalid_address' });
  expect(await mails()).toEqual([]);
});

test('F-21: a mail to many is a mail to each: nobody sees another’s address, and each has its own Message-ID', async () => {
  const count = 400;
  await Promise.all(Array.from({ length: count }, (_, index) => send({ email: `user${index}@example.com` })));
  await eventually(async () => expect(await mails()).toHaveLength(count));
  const sent = await mails();
  for (const mail of sent) {
    const [recipient] = mail.recipients as string[];
    expect(mail.recipients).toHaveLength(1);
    expect(addresses(mail.parsed.to).map(({ address }) => address)).toEqual([recipient]);
    expect(mail.raw.match(/user\d+@example\.com/g)?.every((address) => address === recipient)).toBe(true);
  }
  expect(new Set(sent.map(({ parsed }) => parsed.messageId)).size).toBe(count);
  expect(new Set(sent.flatMap(({ recipients }) => recipients as string[])).size).toBe(count);
});
