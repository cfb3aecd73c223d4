import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countSegments } from './segments.ts';

test.each([
  ['', 'gsm-7', 0],
  ['a'.repeat(160), 'gsm-7', 1],
  ['a'.repeat(161), 'gsm-7', 2],
  ['a'.repeat(306), 'gsm-7', 2],
  ['a'.repeat(307), 'gsm-7', 3],
  ['äöüßñÑ¿¡@£'.repeat(16), 'gsm-7', 1],
  ['€'.repeat(80), 'gsm-7', 1],
  ['€'.repeat(81), 'gsm-7', 2],
  ['ç', 'ucs-2', 1],
  ['я'.repeat(70), 'ucs-2', 1],
  ['я'.repeat(71), 'ucs-2', 2],
  ['я'.repeat(134), 'ucs-2', 2],
  ['я'.repeat(135), 'ucs-2', 3],
  ['😀'.repeat(35), 'ucs-2', 1],
  ['😀'.repeat(36), 'ucs-2', 2],
] as const)('%j is %s in %i segments', (text, encoding, segments) => {
  expect(countSegments(text)).toEqual({ encoding, segments });
});

test('an escaped character or an emoji at the edge of a segment is not torn', () => {
  expect(countSegments(`${'a'.repeat(152)}€${'a'.repeat(151)}`).segments).toBe(2);
  expect(countSegments(`${'a'.repeat(152)}€${'a'.repeat(152)}`).segments).toBe(3);
  expect(countSegments(`${'я'.repeat(66)}😀${'я'.repeat(65)}`).segments).toBe(2);
  expect(countSegments(`${'я'.repeat(66)}😀${'я'.repeat(66)}`).segments).toBe(3);
});

test('more text never costs less, and no segment holds more than its encoding allows', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 50 }), (text, more) => {
      const [before, after] = [countSegments(text), countSegments(text + more)];
      expect(after.segments).toBeGreaterThanOrEqual(before.segments);
      expect(text.length).toBeLessThanOrEqual(before.segments * (before.encoding === 'gsm-7' ? 160 : 70));
    }),
  );
});
