import fc from 'fast-check';
import { expect, test } from 'vitest';
import { childText, childrenOf, escapeXml, fitsXml, parseXml } from './s3-xml.ts';

/** The key in a document of one, by way of the parser. */
function keyIn(inner: string): string | undefined {
  const root = parseXml(`<?xml version="1.0" encoding="UTF-8"?>\n<R xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Key>${inner}</Key></R>`, 'R');
  return root === undefined ? undefined : childText(root, 'Key');
}

test('every text that XML can carry comes back as it was written', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (key) => {
      fc.pre(fitsXml(key));
      expect(keyIn(escapeXml(key))).toBe(key);
    }),
  );
});

test.each([
  ['a&amp;b', 'a&b'],
  ['&amp;lt;', '&lt;'],
  ['&#x41;&#66;&#x1F600;', 'AB😀'],
  ['&quot;&apos;&lt;&gt;', '"\'<>'],
  ['0010', '0010'],
  ['1e5', '1e5'],
  ['true', 'true'],
  ['  a  ', '  a  '],
  ['&#13;', '\r'],
  ['&#1;', '\u0001'],
])('the key %j is %j', (inner, key) => {
  expect(keyIn(inner)).toBe(key);
});

test.each([
  ['a proxy’s page', '<!DOCTYPE html><html><body>Bad gateway</body></html>'],
  ['a page without a document type', '<html><body><p>Bad gateway<br></body></html>'],
  ['plain text', 'upstream connect error'],
  ['JSON', '{"error":"no"}'],
  ['nothing', ''],
  ['a document that was cut off', '<R><Key>a</Key>'],
  ['a document that was cut off within a name', '<R><Key>a</Key></'],
  ['another document', '<S><Key>a</Key></S>'],
  ['entities of its own', '<!DOCTYPE R [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><R><Key>&b;</Key></R>'],
  ['an entity from a file', '<!DOCTYPE R [<!ENTITY a SYSTEM "file:///etc/passwd">]><R><Key>&a;</Key></R>'],
  ['an entity that nobody defined', '<R><Key>&nbsp;</Key></R>'],
  ['a character that does not exist', '<R><Key>&#x110000;</Key></R>'],
  ['an ampersand alone', '<R><Key>a & b</Key></R>'],
  ['a text that is to be taken literally', '<R><Key><![CDATA[&amp;]]></Key></R>'],
  ['a name that would reach into the prototype', '<R><__proto__><Key>a</Key></__proto__></R>'],
])('%s is not taken for an answer', (_what, text) => {
  expect(parseXml(text, 'R')).toBeUndefined();
});

test('no, one and several elements of a name are told apart', () => {
  const rows = (inner: string) => childrenOf(parseXml(`<R>${inner}</R>`, 'R') ?? '', 'Row').map((row) => childText(row, 'Key'));
  expect(rows('')).toEqual([]);
  expect(rows('<Row><Key>a</Key></Row>')).toEqual(['a']);
  expect(rows('<Row><Key>a</Key></Row>\n<Row><Key></Key></Row><Row/>')).toEqual(['a', '', undefined]);
  expect(parseXml('<R/>', 'R')).toBe('');
});

test('deep nesting does not exhaust the stack', () => {
  expect(parseXml(`${'<R>'.repeat(100_000)}${'</R>'.repeat(100_000)}`, 'R')).toBeUndefined();
});
