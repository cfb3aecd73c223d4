/**
 * Reads a Retry-After header: seconds, or an HTTP date. Spread the result; it
 * is empty for a header that is missing, garbled or in the past.
 */
export function retryAfterMs(header: string | null | undefined, now: number = Date.now()): { retryAfterMs?: number } {
  if (header === null || header === undefined) return {};
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return { retryAfterMs: Number(text) * 1_000 };
  // Date.parse reads nearly anything; an HTTP date begins with the name of a day.
  const at = /^[A-Z][a-z]{2}, /.test(text) ? Date.parse(text) : Number.NaN;
  return at > now ? { retryAfterMs: at - now } : {};
}
