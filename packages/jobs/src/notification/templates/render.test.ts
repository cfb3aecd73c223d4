import { readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type RenderedMail, brandOf, brandsSchema, catalogs, mailTemplates, renderTemplate } from './index.ts';

const brand = brandOf(undefined, undefined);
const locales = ['en', 'de', 'es'] as const;
const compiled = new URL('./compiled/', import.meta.url);

function render(name: string, data?: unknown, options: { locale?: string; timeZone?: string } = {}): RenderedMail {
  const example = mailTemplates.find((each) => each.name === name)?.example;
  const rendered = renderTemplate(name, data ?? example, { brand, ...options });
  if ('code' in rendered) throw new Error(rendered.detail);
  return rendered;
}

/** `{name}` and `{count, plural, ..}`: the names of the values that a text takes; the texts inside of a choice are more than one small word. */
const placeholders = (message: string) =>
  [...new Set([...message.matchAll(/\{([a-z]\w*)(?=[,}])/g)].map(([, name = '']) => name))].toSorted((a, b) => a.localeCompare(b));

test('every language has the same texts, which take the same values', () => {
  const shape = (locale: (typeof locales)[number]) => Object.fromEntries(Object.entries(catalogs[locale]).map(([key, text]) => [key, placeholders(text)]));
  for (const locale of ['de', 'es'] as const) expect(shape(locale)).toEqual(shape('en'));
  expect(placeholders(catalogs.en['missedMessages.subject'])).toEqual(['brand', 'count']);
});

test('every template has its compiled HTML, and every compiled HTML its template', () => {
  expect(readdirSync(compiled).toSorted()).toEqual(mailTemplates.map(({ name }) => `${name}.html`).toSorted());
});

test('no template places anything unescaped, or calls for anything but each, if and unless', () => {
  for (const { name } of mailTemplates) {
    const html = readFileSync(new URL(`${name}.html`, compiled), 'utf8');
    expect(html).not.toMatch(/\{\{\{|\{\{&/);
    const tags = [...html.matchAll(/\{\{([^}]*)\}\}/g)].map(([, tag = '']) => tag.trim());
    expect(tags.filter((tag) => !/^(?:[#/](?:each|if|unless)(?: @?[\w.]+)?|else|[\w.]+)$/.test(tag))).toEqual([]);
  }
});

test.each(mailTemplates.flatMap(({ name }) => locales.map((locale) => ({ name, locale }))))(
  '$name has a subject, text and HTML in $locale',
  ({ name, locale }) => {
    const { subject, text, html } = render(name, undefined, { locale });
    expect(subject).toMatch(/^[^\r\n]{3,200}$/);
    expect(html).toContain(`<html lang="${locale}"`);
    for (const part of [subject, text, html]) {
      expect(part).not.toMatch(/\{\{|\}\}|undefined|\[object|NaN|Invalid/);
      // A value that was not given, or a choice that was not made.
      expect(part).not.toMatch(/\{\w+[,}]/);
    }
  },
);

test('plurals, numbers and times follow locale and time zone', () => {
  const at = '2026-11-26T07:42:00Z';
  const chats = [{ name: 'Family', messages: 12_345 }];
  const data = { name: 'Ann', since: at, chats, url: 'https://chat.example/' };
  const one = { ...data, chats: [{ name: 'Family', messages: 1 }] };
  expect(render('missed-messages', data, { locale: 'en' }).subject).toBe('12,345 new messages in Chat');
  expect(render('missed-messages', data, { locale: 'de' }).subject).toBe('12.345 neue Nachrichten in Chat');
  expect(render('missed-messages', one, { locale: 'de' }).subject).toBe('1 neue Nachricht in Chat');
  expect(render('missed-messages', one, { locale: 'es' }).subject).toBe('1 mensaje nuevo en Chat');
  expect(render('missed-messages', data, { locale: 'de', timeZone: 'Europe/Berlin' }).text).toContain('26. November 2026 um 08:42 MEZ');
  expect(render('missed-messages', data, { locale: 'es', timeZone: 'America/New_York' }).text).toMatch(/26 de noviembre de 2026.* 2:42/);
});

test('a region falls back to its language, and anything unknown to English and UTC', () => {
  expect(render('otp', undefined, { locale: 'es-MX' }).subject).toBe('482 913 es tu código');
  expect(render('otp', undefined, { locale: 'de_AT' }).subject).toBe('482 913 ist dein Code');
  for (const locale of ['fr', '', 'x', '../de', 'constructor']) expect(render('otp', undefined, { locale }).subject).toBe('482 913 is your code');
  expect(render('new-sign-in', undefined, { timeZone: 'Mars/Base' }).text).toContain('7:42 AM UTC');
});

test('F-23: names are data: no template, message format or HTML in them is evaluated', () => {
  const name = '{{constructor.constructor("return 7*7")()}} {count, plural, other {x}} ${7*7} <img src=x onerror=alert(1)>';
  const { text, html } = render('welcome', { name, url: 'https://chat.example/?a=1&b="x"' });
  expect(text).toContain(name);
  expect(html).not.toMatch(/<img|"x"/);
  expect(html).toContain('&lt;img src&#x3D;x');
});

test('F-23: a right-to-left name is closed off, and marks that turn the writing are taken out', () => {
  expect(render('welcome', { name: 'אמא', url: 'https://chat.example/' }).text).toContain('Welcome, \u2068אמא\u2069!');
  expect(render('media-ready', { file: 'photo\u202egpj.exe', url: 'https://chat.example/' }).subject).toBe('photogpj.exe is ready');
});

test('F-21: line breaks in names stay out of the subject', () => {
  expect(render('media-ready', { file: 'a\r\nBcc: eve@example.com', url: 'https://chat.example/' }).subject).toBe('a Bcc: eve@example.com is ready');
});

test('links lead to https only', () => {
  for (const url of ['javascript:alert(1)', 'http://chat.example/', 'data:text/html,x', '/start']) {
    expect(renderTemplate('welcome', { name: 'Ann', url }, { brand })).toEqual({
      code: 'invalid_template_data',
      detail: 'welcome: url: expected an https:// URL',
    });
  }
});

test('a digest names ten chats and counts the others', () => {
  const chats = Array.from({ length: 12 }, (_, index) => ({ name: `Chat no ${index}`, messages: 1 }));
  const { text, html } = render('missed-messages', { name: 'Ann', since: '2026-11-26T07:42:00Z', chats, url: 'https://chat.example/' });
  expect(text.match(/Chat no/g)).toHaveLength(10);
  expect(text).toContain('and 2 more chats');
  expect(html).toContain('and 2 more chats');
});

test('a tenant has its own look, and the default one without', () => {
  const brands = brandsSchema.parse({
    default: { name: 'Chat' },
    acme: { name: 'Acme', color: '#ffcc00', logoUrl: 'https://acme.example/logo.png', supportUrl: 'https://acme.example/help' },
  });
  expect(brandOf(brands, 'other').name).toBe('Chat');
  expect(brandOf(brands, 'constructor').name).toBe('Chat');
  const mail = renderTemplate('welcome', { name: 'Ann', url: 'https://acme.example/' }, { brand: brandOf(brands, 'acme') });
  expect(mail).toMatchObject({ subject: 'Welcome to Acme' });
  const { html } = mail as RenderedMail;
  expect(html).toMatch(/<img\s[^>]*alt="Acme" src="https:\/\/acme\.example\/logo\.png"/);
  // Black on yellow: white could not be read.
  expect(html).toMatch(/background:#ffcc00;[^"]*color:#111418/);
});

test.each([
  { default: { name: 'x', color: 'red;background:url(https://evil.example)' } },
  { default: { name: 'x', logoUrl: 'http://a.example/x.png' } },
  { default: { name: 'a\r\nBcc: x' } },
  { default: { name: 'x', colour: '#123456' } },
])('the look %o is refused', (brands) => {
  expect(brandsSchema.safeParse(brands).success).toBe(false);
});
