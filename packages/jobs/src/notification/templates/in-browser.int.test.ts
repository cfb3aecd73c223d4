import { type Browser, type Look, type Page, findBrowser, lookAtPage, startBrowser } from '@backhaul/testing/browser';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MailBrand, brandOf, mailTemplates, renderTemplate } from './index.ts';

const chromium = findBrowser();
const locales = ['en', 'de', 'es'] as const;
const screens = [
  { name: 'a desktop', width: 1_280, height: 900 },
  { name: 'a phone', width: 390, height: 844 },
];
const logoUrl = 'https://brand.example/logo.png';
/** Of the example of media-ready. */
const posterUrl = 'https://cdn.chat.example/media/holiday/poster.webp';
const brand: MailBrand = {
  ...brandOf(undefined, undefined),
  name: 'Acme Chat',
  logoUrl,
  address: '1 Main Street, Springfield',
  supportUrl: 'https://a.example/',
};
/** 1 × 1, transparent. */
const picture = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==', 'base64');

const longName = `Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft${'x'.repeat(110)}`;
const rightToLeft = 'אמא שלי 12 \u202egpj.exe والدتي العزيزة';

/** A template's example with `words` in every place where somebody's words go. */
function filledWith(words: string, example: unknown): unknown {
  const fill = (value: unknown, key: string): unknown => {
    if (Array.isArray(value)) return value.map((each) => fill(each, key));
    if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, fill(each, name)]));
    return people.has(key) ? words : value;
  };
  return fill(example, '');
}
const people = new Set(['name', 'device', 'place', 'preview', 'file', 'reason', 'summary', 'details', 'service', 'title', 'body']);

describe.skipIf(chromium === undefined)('in a browser', () => {
  let browser: Browser;
  let page: Page;
  let requests: string[] = [];

  beforeAll(async () => {
    browser = await startBrowser(chromium ?? '');
    page = await browser.newPage();
    // Nothing leaves the machine; what a mail would fetch is noted.
    await page.route('**/*', (route) => {
      requests.push(route.request().url());
      return route.fulfill({ contentType: 'image/png', body: picture });
    });
  });
  afterAll(() => browser?.close());

  async function look(
    name: string,
    options: { data?: unknown; locale?: string; width: number; height: number; dark?: boolean; brand?: MailBrand },
  ): Promise<Look> {
    const example = mailTemplates.find((each) => each.name === name)?.example;
    const mail = renderTemplate(name, options.data ?? example, { locale: options.locale, brand: options.brand ?? brand });
    if ('code' in mail) throw new Error(mail.detail);
    requests = [];
    await page.setViewportSize({ width: options.width, height: options.height });
    await page.emulateMedia({ colorScheme: options.dark === true ? 'dark' : 'light' });
    await page.setContent(mail.html, { waitUntil: 'load', timeout: 20_000 });
    return lookAtPage(page);
  }
  const good = { overflows: false, hiddenWords: [], cutWords: [], faintWords: [], picturesWithoutWords: [], brokenPictures: [] };

  test.each(
    mailTemplates.flatMap(({ name }) => locales.flatMap((locale) => screens.map((screen) => ({ ...screen, template: name, locale, screen: screen.name })))),
  )('$template in $locale on $screen: everything is to be seen and read, and only pictures are fetched', async ({ template, locale, width, height }) => {
    const light = await look(template, { locale, width, height });
    const pictures = template === 'media-ready' ? [logoUrl, posterUrl] : [logoUrl];
    expect(light).toMatchObject({ ...good, lang: locale, dir: 'ltr', pictures });
    expect(light.words).toBeGreaterThan(20);
    // Pictures that were fetched before are not fetched again.
    expect(requests.filter((url) => !pictures.includes(url))).toEqual([]);
    expect(await look(template, { locale, width, height, dark: true })).toMatchObject(good);
  });

  test.each(
    mailTemplates.filter(({ name }) => name !== 'otp').flatMap(({ name }) => screens.map((screen) => ({ ...screen, template: name, screen: screen.name }))),
  )(
    'F-23: $template on $screen holds together around a word that is 190 letters long, and around words that run from right to left',
    async ({ template, width, height }) => {
      const example = mailTemplates.find(({ name }) => name === template)?.example;
      for (const words of [longName, rightToLeft]) expect(await look(template, { data: filledWith(words, example), width, height })).toMatchObject(good);
    },
  );

  test('a paragraph in Hebrew runs from right to left, and what stands around it does not', async () => {
    const { directions } = await look('generic', { data: { title: 'שלום', body: 'ארוחת ערב?\n\nDinner?' }, width: 390, height: 844 });
    expect(directions).toEqual(['rtl', 'rtl', 'ltr']);
  });

  test.each(['#1f6feb', '#ffcc00', '#000000', '#ffffff', '#777777', '#d1242f', '#2da44e'])('the words of a button can be read on %s', async (color) => {
    const { buttonContrast } = await look('welcome', { width: 390, height: 844, brand: { ...brand, color } });
    expect(buttonContrast).toBeGreaterThan(3);
  });
});
