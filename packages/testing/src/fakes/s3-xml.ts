/** A tree for S3's answers: text, a list of the same element, or named children. Undefined leaves out. */
export type Xml = string | number | boolean | undefined | Xml[] | { [name: string]: Xml };

/** `<root xmlns=..>` around the children. */
export function xmlDocument(root: string, children: { [name: string]: Xml }): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${write(children)}</${root}>`;
}

/** S3's error document; it has no namespace. */
export function xmlError(code: string, message: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${write({ Code: code, Message: message, RequestId: 'BACKHAULFAKE' })}</Error>`;
}

/** The texts of every `<name>` in a small, trusted document. */
export function xmlTexts(document: string, name: string): string[] {
  return [...document.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>([^<]*)</${name}>`, 'g'))].map(([, text = '']) => unescape(text));
}

function write(node: Xml): string {
  if (node === undefined) return '';
  if (typeof node !== 'object') return escape(String(node));
  if (Array.isArray(node)) throw new TypeError('a list needs the name of its elements');
  return Object.entries(node)
    .flatMap(([name, child]) => (Array.isArray(child) ? child : [child]).map((one) => (one === undefined ? '' : `<${name}>${write(one)}</${name}>`)))
    .join('');
}

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#13;' };

const escape = (text: string): string => text.replaceAll(/[&<>"\r]/g, (character) => ESCAPES[character] ?? '');

const unescape = (text: string): string =>
  text
    .replaceAll(/&#(x?)([0-9a-f]+);/gi, (_, hex: string, digits: string) => String.fromCodePoint(Number.parseInt(digits, hex ? 16 : 10)))
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');
