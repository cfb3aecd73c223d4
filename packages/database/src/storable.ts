/**
 * JSON that jsonb takes. It refuses NUL characters and half surrogate pairs,
 * and a run whose end is refused is run again, for ever; a tag in a media file
 * or the output of a child process is enough to bring one.
 */
export function storable(value: unknown): string {
  try {
    const json = JSON.stringify(value);
    // A replacer makes it several times as slow, and nearly nothing needs one.
    if (!REFUSED.test(json)) return json;
  } catch {
    // A bigint; the slow way knows it.
  }
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === 'bigint') return String(inner);
    return typeof inner === 'string' ? inner.replaceAll('\u0000', '').toWellFormed() : inner;
  });
}

/** NUL and halves of surrogate pairs, as JSON.stringify writes them: it escapes those and leaves whole pairs alone. */
const REFUSED = /\\u(?:0000|d[89a-f])/;
