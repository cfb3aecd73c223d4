import { domainToASCII } from 'node:url';

/** RFC 5321 4.5.3.1: the left side, and the whole path without its angle brackets. */
const maxLocalLength = 64;
const maxAddressLength = 254;

/** RFC 5322 dot-atom. Quoted left sides are legal, unused, and a hiding place for line breaks and commas: not accepted. */
const dotAtom = /^[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*$/;
const domainName = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])$/;

/**
 * Reads one bare mail address; undefined for anything else: a list, a display
 * name, a comment, a line break, a quoted left side, an address literal.
 *
 * The domain comes back in lower-case ASCII (IDNA), the left side as it was.
 */
export function parseAddress(input: string): string | undefined {
  // Before any expression runs: the length bounds the work.
  if (input.length > 2 * maxAddressLength) return undefined;
  const address = input.trim();
  const at = address.lastIndexOf('@');
  const local = address.slice(0, Math.max(0, at));
  const domain = domainToASCII(address.slice(at + 1)).toLowerCase();
  if (local.length === 0 || local.length > maxLocalLength || local.length + 1 + domain.length > maxAddressLength) return undefined;
  return dotAtom.test(local) && domainName.test(domain) ? `${local}@${domain}` : undefined;
}
