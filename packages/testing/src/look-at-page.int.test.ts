import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Browser, type Look, findBrowser, lookAtPage, startBrowser } from './browser.ts';

const chromium = findBrowser();

describe.skipIf(chromium === undefined)('in a browser', () => {
  let browser: Browser;
  beforeAll(async () => void (browser = await startBrowser(chromium ?? '')));
  afterAll(() => browser?.close());

  async function look(body: string): Promise<Look> {
    const page = await browser.newPage({ viewport: { width: 400, height: 600 } });
    try {
      await page.setContent(`<html lang="en" dir="ltr"><body style="margin:0">${body}</body></html>`);
      return await lookAtPage(page);
    } finally {
      await page.close();
    }
  }

  test('a page on which everything is in order has nothing to tell', async () => {
    expect(await look('<h1>Hello there</h1><div style="display:none">preview</div>')).toEqual({
      lang: 'en',
      dir: 'ltr',
      words: 2,
      overflows: false,
      hiddenWords: [],
      cutWords: [],
      faintWords: [],
      pictures: [],
      picturesWithoutWords: [],
      brokenPictures: [],
      directions: ['ltr'],
      buttonContrast: null,
    });
  });

  test.each<[string, string, Partial<Look>]>([
    ['a page that is too wide', '<div style="width:500px">a</div>', { overflows: true }],
    [
      'a word that reaches out of its cell',
      '<table style="table-layout:fixed;width:100px"><tr><td>' + 'x'.repeat(40) + '</td></tr></table>',
      { cutWords: ['x'.repeat(40)] },
    ],
    [
      'words that cannot be seen',
      '<p style="visibility:hidden">a</p><p style="font-size:1px">b</p><p style="opacity:0">c</p>',
      { hiddenWords: ['a', 'b', 'c'] },
    ],
    ['words in nearly the colour of what is behind them', '<div style="background:#fff"><p style="color:#999">a</p></div>', { faintWords: ['a (2.85)'] }],
    [
      'a picture that is not there and says nothing',
      '<img src="data:image/png;base64,AAAA">',
      { picturesWithoutWords: ['data:image/png;base64,AAAA'], brokenPictures: ['data:image/png;base64,AAAA'] },
    ],
    ['a button and a link', '<a href="#" style="background:#000;color:#fff">a</a> <a href="#" style="color:#000">b</a>', { buttonContrast: 21 }],
  ])('%s', async (_what, body, expected) => {
    expect(await look(body)).toMatchObject(expected);
  });
});
