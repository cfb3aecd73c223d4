import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/**
 * Whether a form was signed with our auth token for this URL, as Twilio does:
 * HMAC-SHA1 of the URL and the fields, sorted by name, names and values strung together.
 * https://www.twilio.com/docs/usage/security#validating-requests
 *
 * @param url the public one that Twilio was given, query included; a port that
 *   its scheme has anyway may be there or not, Twilio signs either
 */
export function signatureMatches(signature: string | undefined, request: { authToken: string; url: string; form: URLSearchParams }): boolean {
  if (signature === undefined) return false;
  const { authToken, url, form } = request;
  const given = digest(signature);
  return spellings(url)
    .map((each) => timingSafeEqual(given, digest(sign(authToken, each, form))))
    .includes(true);
}

function sign(authToken: string, url: string, form: URLSearchParams): string {
  const hmac = createHmac('sha1', authToken).update(url);
  for (const name of [...new Set(form.keys())].toSorted()) {
    // A name that comes twice counts once for each different value.
    for (const value of [...new Set(form.getAll(name))].toSorted()) hmac.update(name).update(value);
  }
  return hmac.digest('base64');
}

/** With and without the port. What follows the host is taken as it is: parsing it would spell it anew. */
function spellings(url: string): string[] {
  const { protocol, hostname, port, host } = new URL(url);
  const rest = url.slice(url.indexOf(host, protocol.length) + host.length).replace(/^:\d+/, '');
  return [`${protocol}//${hostname}${rest}`, `${protocol}//${hostname}:${port === '' ? (protocol === 'https:' ? 443 : 80) : port}${rest}`];
}

/** Of equal lengths, which timingSafeEqual wants. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
