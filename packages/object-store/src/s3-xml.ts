import { XMLParser } from 'fast-xml-parser';

/** An element: its text, or its children by name, of which there may be several of one name. */
export type XmlElement = string | { readonly [name: string]: XmlElement | readonly XmlElement[] | undefined };

/** Texts stay texts (a key may look like a number) and keep their spaces; entities are ours to decode. */
const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  tagValueProcessor: (_name, value) => decodeEntities(value),
});

/**
 * The root of a document from the store, by its name. Undefined for what is no
 * such document: a proxy's page, a document that was cut off, or one with what
 * S3 never sends, of which a document type with entities of its own is the dangerous one.
 */
export function parseXml(text: string, root: string): XmlElement | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith('<') || trimmed.includes('<!')) return undefined;
  try {
    const document = parser.parse(trimmed) as Readonly<Record<string, XmlElement>>;
    const element = document[root];
    // The parser forgives a document that was cut off.
    return trimmed.endsWith(`</${root}>`) || (element === '' && trimmed.endsWith('/>')) ? element : undefined;
  } catch {
    return undefined;
  }
}

/** The children of that name; none of an element that is a text. */
export function childrenOf(element: XmlElement, name: string): readonly XmlElement[] {
  const found = typeof element === 'string' ? undefined : element[name];
  return found === undefined ? [] : Array.isArray(found) ? (found as readonly XmlElement[]) : [found as XmlElement];
}

/** The text of the first child of that name; undefined if there is none. */
export function childText(element: XmlElement, name: string): string | undefined {
  const [first] = childrenOf(element, name);
  return typeof first === 'string' ? first : undefined;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** @throws {SyntaxError} an entity that XML does not define: no key may come back as another than it is */
function decodeEntities(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w{1,10}));|&/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    const code = hex !== undefined ? Number.parseInt(hex, 16) : decimal !== undefined ? Number(decimal) : undefined;
    const character = code !== undefined ? (code <= 0x10ffff ? String.fromCodePoint(code) : undefined) : ENTITIES[name ?? ''];
    if (character === undefined) throw new SyntaxError(`not an entity: ${whole}`);
    return character;
  });
}

/** Line ends are written as numbers, because a reader of XML may change them. */
export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"'\r\n]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** XML cannot carry most control characters, in whatever form. */
export function fitsXml(text: string): boolean {
  return text.isWellFormed() && !/[[\p{Cc}--[\t\n\r]]\uFFFE\uFFFF]/v.test(text);
}
