import { expect, test } from 'vitest';
import { retryAfterMs } from './retry-after.ts';

const now = Date.parse('2026-01-01T00:00:00Z');

test.each<[string | null | undefined, object]>([
  ['30', { retryAfterMs: 30_000 }],
  [' 0 ', { retryAfterMs: 0 }],
  ['Thu, 01 Jan 2026 00:01:00 GMT', { retryAfterMs: 60_000 }],
  ['Thu, 01 Jan 2026 00:00:00 GMT', {}],
  ['Wed, 31 Dec 2025 00:00:00 GMT', {}],
  ['-5', {}],
  ['1.5', {}],
  ['soon', {}],
  ['99999999999999999999', {}],
  ['', {}],
  [null, {}],
  [undefined, {}],
])('Retry-After %o is read as %o', (header, expected) => {
  expect(retryAfterMs(header, now)).toEqual(expected);
});
