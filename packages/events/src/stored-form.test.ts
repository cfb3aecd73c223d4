import { defineEvent } from '@backhaul/broker/event';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { createDecoder } from './decode.ts';
import { events } from './index.ts';

const anything = defineEvent({
  routingKey: 'test.anything',
  data: z.object({ type: z.string(), second: z.unknown(), first: z.unknown() }),
  example: { type: 'anything', second: 1, first: 1 },
});
const decode = createDecoder({ events: [...events, anything] });

function decodeText(text: string, routingKey: string = anything.routingKey) {
  return decode({ routingKey, body: Buffer.from(text), messageId: 'm1', contentEncoding: undefined, headers: {} });
}

// Rows that are on record were hashed like this: a redelivery that is hashed in any other way would be a conflict with its own row.
test.each([
  [
    'media.image',
    '{"type":"image","s3Key":"uploads/1.jpg","userId":"u1","messageId":"0d6f9b0e-6a63-4f0b-9f0e-3f4b8f0c2a11"}',
    '{"type":"image","s3Key":"uploads/1.jpg","userId":"u1","messageId":"0d6f9b0e-6a63-4f0b-9f0e-3f4b8f0c2a11"}',
    'f6cd124eaa1d88c7fd8809e38e2f798df5544eaa777a601e83a8398ccaf46ba7',
  ],
  [
    'notification.push',
    '{"body":"Hello","title":"Family","userId":"u1","data":{"kind":"call","10":"ten","9":"nine","chatId":"42","Z":"last"}}',
    '{"type":"push","userId":"u1","title":"Family","body":"Hello","data":{"9":"nine","10":"ten","Z":"last","chatId":"42","kind":"call"}}',
    '3d9e32f9a65e3d5595b985351642d59f66bb6ed150cb49be935b7a62410191f3',
  ],
  [
    'notification.email',
    String.raw`{"title":"Zoë \u00fc \ud83c\udf89","userId":"u1","body":"\"quoted\" \\u0041","templateData":{"b":[{"y":1.50,"x":null},[],{}],"a":{"d":-0,"c":1e21}},"template":"welcome"}`,
    String.raw`{"type":"email","userId":"u1","title":"Zoë ü 🎉","body":"\"quoted\" \\u0041","template":"welcome","templateData":{"a":{"c":1e+21,"d":0},"b":[{"x":null,"y":1.5},[],{}]}}`,
    'd206e04f873b388d81ee828b6a57e01d5c325e83b8e3fa7b3c2e0ed46979c209',
  ],
])('%s: what is stored and its hash are the same for ever', (routingKey, text, stored, bodyHash) => {
  const result = decodeText(text, routingKey);
  expect(result).toMatchObject({ ok: true, payloadJson: stored });
  expect(result.bodyHash.toString('hex')).toBe(bodyHash);
});

const key = fc.oneof(fc.constantFrom('a', 'b', 'B', '9', '10', 'ü', 'toJSON', 'hasOwnProperty', ''), fc.string({ unit: 'grapheme' }));
const { value: json } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.string({ unit: 'grapheme' }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(null, true, false),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5 }),
  ),
}));
const refused = ['__proto__', 'constructor', 'prototype'];

test('What is stored has the fields of the schema in its order, and below them all keys sorted', () => {
  fc.assert(
    fc.property(json, json, (first, second) => {
      const text = JSON.stringify({ first, type: 'anything', second });
      fc.pre(!refused.some((word) => text.includes(word)));
      const sorted = (_key: string, value: unknown): unknown =>
        typeof value === 'object' && value !== null && !Array.isArray(value)
          ? Object.fromEntries(Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1)))
          : value;
      const expected = `{"type":"anything","second":${JSON.stringify(second, sorted)},"first":${JSON.stringify(first, sorted)}}`;
      expect(decodeText(text)).toMatchObject({ ok: true, payloadJson: expected });
    }),
    { numRuns: 500 },
  );
});

test('What cannot be kept is refused at any depth, as key and as text, spelt out and escaped', () => {
  const escaped = (text: string) => Array.from(text, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
  const word = fc.tuple(fc.constantFrom(...refused, 'harmless'), fc.boolean()).map(([text, hidden]) => ({ text, written: hidden ? escaped(text) : text }));
  const within = fc.array(fc.constantFrom('list', 'object'), { maxLength: 10 });
  const wrap = (inner: string, around: readonly string[]) => around.reduce((text, kind) => (kind === 'list' ? `[1,${text}]` : `{"k":${text}}`), inner);
  fc.assert(
    fc.property(word, within, fc.constantFrom('second', 'unknown'), ({ text, written }, around, place) => {
      const body = (inner: string) => `{"type":"anything","first":1,"second":2,"${place}":${wrap(inner, around)}}`;
      expect(decodeText(body(`{"${written}":1}`))).toMatchObject(text === 'harmless' ? { ok: true } : { ok: false, reason: 'forbidden_key' });
      expect(decodeText(body(`"${written}"`))).toMatchObject({ ok: true });
      for (const bad of ['\\u0000', '\\ud83d', '\\udc00x']) {
        expect(decodeText(body(`"${written}${bad}"`))).toMatchObject({ ok: false, reason: 'forbidden_text' });
        expect(decodeText(body(`{"x${written}${bad}":1}`))).toMatchObject({ ok: false, reason: 'forbidden_text' });
      }
      for (const number of ['1e999', '-1e+309', `${'9'.repeat(320)}.5`, `${'9'.repeat(250)}e90`])
        expect(decodeText(body(number))).toMatchObject({ ok: false, reason: 'schema', message: 'a number is larger than any that can be kept' });
    }),
    { numRuns: 200 },
  );
});
