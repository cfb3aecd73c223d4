import { createHmac } from 'node:crypto';

/**
 * Reports how a message fared to the address that came with it, signed as
 * Twilio signs. Like Twilio it asks once: who does not answer hears no more of
 * that status.
 *
 * @returns the HTTP status, or 0 when nobody answered
 */
export async function reportStatus(address: string, authToken: string, fields: Record<string, string>): Promise<number> {
  const signed = Object.entries(fields)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .reduce((text, [name, value]) => text + name + value, address);
  try {
    const answer = await fetch(address, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded; charset=UTF-8',
        'x-twilio-signature': createHmac('sha1', authToken).update(signed).digest('base64'),
      },
      body: new URLSearchParams(fields).toString(),
      signal: AbortSignal.timeout(5_000),
    });
    await answer.arrayBuffer();
    return answer.status;
  } catch {
    return 0;
  }
}
