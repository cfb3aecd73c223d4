import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { GATHER_BYTES } from './take-body.ts';

/** Between the last byte and the end of a file lies one more read of it. */
const END_MS = 250;

/**
 * Sends a file as the body of one request, by `send`.
 *
 * The answer may come before the request is ended: a store knows by the
 * length which byte is the last, and refuses without waiting for any. A
 * request whose source goes then would stay open, and hold its connection until
 * the store gives that up; fifty of those and nothing is sent any more.
 */
export async function sendFile<Result>(file: string, outer: AbortSignal, send: (body: Readable, signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const body = createReadStream(file, { highWaterMark: GATHER_BYTES });
  const request = new AbortController();
  const forward = () => request.abort(outer.reason);
  outer.addEventListener('abort', forward, { once: true });
  try {
    const result = await send(body, request.signal);
    await finished(body, { signal: AbortSignal.timeout(END_MS) }).catch(() => undefined);
    return result;
  } finally {
    outer.removeEventListener('abort', forward);
    // Ends the request, and its connection with it.
    if (!body.readableEnded) request.abort();
    body.destroy();
  }
}
