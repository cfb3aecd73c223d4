import type { Page } from 'playwright-core';

/** What somebody would see of a page. */
export type Look = {
  readonly lang: string;
  readonly dir: string;
  /** How many words are shown. */
  readonly words: number;
  /** Whether the page is wider than the screen. */
  readonly overflows: boolean;
  /** Words that take no room, beyond those that are hidden on purpose (display: none). */
  readonly hiddenWords: readonly string[];
  /** Words that reach out of their box or of the screen, where they are cut off or lie upon others. */
  readonly cutWords: readonly string[];
  /** Words in colours too close to what is behind them (WCAG 2, level AA: 4.5, or 3 for large ones). */
  readonly faintWords: readonly string[];
  /** Where the pictures come from. */
  readonly pictures: readonly string[];
  readonly picturesWithoutWords: readonly string[];
  readonly brokenPictures: readonly string[];
  /** The direction of writing of each heading and paragraph. */
  readonly directions: readonly string[];
  /** The lowest contrast of words in a link that looks like a button (has a background of its own). */
  readonly buttonContrast: number | null;
};

/** Looks at what the page shows now. */
export function lookAtPage(page: Page): Promise<Look> {
  return page.evaluate(lookAround);
}

// The parts of the DOM that are looked at. The real types would bring a browser's globals into every file of the repository.
type Box = { readonly left: number; readonly right: number; readonly top: number; readonly bottom: number; readonly width: number; readonly height: number };
type Element = {
  readonly tagName: string;
  readonly parentElement: Element | null;
  readonly textContent: string;
  readonly naturalWidth: number;
  readonly scrollWidth: number;
  getAttribute(name: string): string | null;
  getBoundingClientRect(): Box;
  closest(selector: string): Element | null;
};
type Style = Readonly<Record<'color' | 'backgroundColor' | 'fontSize' | 'fontWeight' | 'visibility' | 'opacity' | 'direction', string>>;
type TextRange = { selectNodeContents(node: unknown): void; getClientRects(): Iterable<Box> };
type TextNode = { readonly textContent: string; readonly parentElement: Element | null };
declare const document: {
  readonly documentElement: Element;
  readonly body: unknown;
  querySelectorAll(selector: string): Iterable<Element>;
  createTreeWalker(root: unknown, what: number): { nextNode(): TextNode | null };
  createRange(): TextRange;
};
declare const innerWidth: number;
declare function getComputedStyle(element: Element): Style;

/** Runs in the page: everything that it calls is inside of it. */
function lookAround(): Look {
  const SHOW_TEXT = 4;
  /** Of rounding: text is laid out in fractions of a pixel. */
  const tolerance = 1.5;

  type Colour = { red: number; green: number; blue: number; alpha: number };
  const colourOf = (css: string): Colour => {
    const [red = 0, green = 0, blue = 0, alpha = 1] = (css.match(/[\d.]+/g) ?? []).map(Number);
    return { red, green, blue, alpha };
  };
  const luminance = ({ red, green, blue }: Colour): number => {
    const [r = 0, g = 0, b = 0] = [red, green, blue].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one: Colour, other: Colour): number => {
    const [dark = 0, light = 0] = [luminance(one), luminance(other)].toSorted((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element: Element | null): Colour => {
    for (let each = element; each !== null; each = each.parentElement) {
      const colour = colourOf(getComputedStyle(each).backgroundColor);
      if (colour.alpha > 0) return colour;
    }
    return { red: 255, green: 255, blue: 255, alpha: 1 };
  };
  const isHiddenOnPurpose = (element: Element): boolean =>
    element.closest('style, title, script, template') !== null || element.closest('[style*="display:none"], [style*="display: none"]') !== null;

  const [hiddenWords, cutWords, faintWords]: [string[], string[], string[]] = [[], [], []];
  let words = 0;
  let buttonContrast: number | null = null;
  const walker = document.createTreeWalker(document.body, SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    // Invisible characters fill the preview that mail programs show.
    if (element === null || /^(?:[\s\u200b-\u200f\u2060\ufeff\u00ad]|\u034f)*$/.test(text) || isHiddenOnPurpose(element)) continue;
    words += text.split(/\s+/).length;
    const style = getComputedStyle(element);
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter(({ width, height }) => width > 0 && height > 0);
    if (boxes.length === 0 || style.visibility !== 'visible' || Number(style.opacity) < 0.5 || Number.parseFloat(style.fontSize) < 11) {
      hiddenWords.push(text);
      continue;
    }
    const holder = element.closest('td, div')?.getBoundingClientRect();
    const [left, right] = [Math.max(0, holder?.left ?? 0), Math.min(innerWidth, holder?.right ?? innerWidth)];
    if (boxes.some((box) => box.left < left - tolerance || box.right > right + tolerance)) cutWords.push(text);
    const size = Number.parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = contrast(colourOf(style.color), behind(element));
    const button = element.closest('a');
    const isButton = button !== null && colourOf(getComputedStyle(button).backgroundColor).alpha > 0;
    if (isButton) buttonContrast = Math.min(ratio, buttonContrast ?? Infinity);
    // A button's words are bold and its colour is the tenant's: readable, and no more is asked.
    if (ratio < (isLarge || isButton ? 3 : 4.5)) faintWords.push(`${text} (${ratio.toFixed(2)})`);
  }
  const pictures = [...document.querySelectorAll('img')];
  const sourceOf = (picture: Element): string => picture.getAttribute('src') ?? '';
  return {
    lang: document.documentElement.getAttribute('lang') ?? '',
    dir: document.documentElement.getAttribute('dir') ?? '',
    words,
    overflows: document.documentElement.scrollWidth > innerWidth,
    hiddenWords,
    cutWords,
    faintWords,
    pictures: pictures.map(sourceOf),
    picturesWithoutWords: pictures.filter((picture) => (picture.getAttribute('alt') ?? '').trim() === '').map(sourceOf),
    brokenPictures: pictures.filter(({ naturalWidth }) => naturalWidth === 0).map(sourceOf),
    directions: [...document.querySelectorAll('h1, p')].map((element) => getComputedStyle(element).direction),
    buttonContrast,
  };
}
