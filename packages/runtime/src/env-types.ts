import { z } from 'zod';

/**
 * The only coercions from environment strings to values. Each names what it
 * expected, so that a start-up error can be mended without reading the source.
 */

/** A TCP port, 0 to 65535; 0 lets the operating system choose. */
export function port() {
  return wholeNumber({ min: 0, max: 65_535, what: 'a TCP port' });
}

/** A whole number in decimal digits, inside the given bounds (inclusive). */
export function integer(bounds: { min: number; max: number }) {
  return wholeNumber({ ...bounds, what: 'a whole number' });
}

/** A duration in milliseconds, from 1 ms (or `min`) to `max` (default 24 days, the longest timer Node keeps). */
export function milliseconds(bounds: { min?: number; max?: number } = {}) {
  return wholeNumber({ min: bounds.min ?? 1, max: bounds.max ?? 2_147_483_647, what: 'milliseconds' });
}

/** A size in bytes: digits, optionally with KiB, MiB or GiB. */
export function bytes(bounds: { min?: number; max?: number } = {}) {
  const min = bounds.min ?? 0;
  const max = bounds.max ?? Number.MAX_SAFE_INTEGER;
  return z.string().transform((text, context) => {
    const match = /^(\d+)\s*(KiB|MiB|GiB)?$/.exec(text.trim());
    const scale = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
    const size = match ? Number(match[1]) * (match[2] ? scale[match[2] as keyof typeof scale] : 1) : Number.NaN;
    if (!(size >= min && size <= max)) {
      context.addIssue(`expected a size in bytes from ${min} to ${max}, such as 1048576 or 1MiB`);
      return z.NEVER;
    }
    return size;
  });
}

/** `true`, `false`, `1` or `0`. */
export function bool() {
  return z.enum(['true', 'false', '1', '0'], { error: 'expected true, false, 1 or 0' }).transform((text) => text === 'true' || text === '1');
}

/** Text that must not be empty. */
export function text() {
  return z.string().trim().min(1, 'expected some text');
}

/** Text that must not reach a log; `loadConfig` never prints its value. */
export function secret() {
  return z.string().min(1, 'expected a secret').meta({ secret: true });
}

/** A URL with one of the given schemes (without the colon). Its value is never printed: URLs carry passwords. */
export function url(...schemes: [string, ...string[]]) {
  return z
    .string()
    .refine((value) => URL.canParse(value) && schemes.includes(new URL(value).protocol.slice(0, -1)), {
      error: `expected a URL starting with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
    })
    .meta({ secret: true });
}

function wholeNumber(rule: { min: number; max: number; what: string }) {
  const expected = `expected ${rule.what} from ${rule.min} to ${rule.max}`;
  return z.string().transform((value, context) => {
    const number = /^-?\d+$/.test(value.trim()) ? Number(value) : Number.NaN;
    if (!(number >= rule.min && number <= rule.max)) {
      context.addIssue(expected);
      return z.NEVER;
    }
    return number;
  });
}
