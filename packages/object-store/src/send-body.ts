import { createReadStream } from 'node:fs';
import type { ClientRequest } from 'node:http';
import { GATHER_BYTES } from './take-body.ts';

/** What a request carries. A file is read anew for each try. */
export type RequestBody = Buffer | { readonly file: string; readonly sizeBytes: number };

/** Between the last byte and the end of a file lies one more read of it. */
const END_MS = 250;

/** Sends the body and ends the request; what goes wrong with a file ends it, too. */
export function sendBody(request: ClientRequest, body: RequestBody | undefined): void {
  if (body === undefined || Buffer.isBuffer(body) || body.sizeBytes === 0) {
    request.end(Buffer.isBuffer(body) ? body : undefined);
    return;
  }
  // Never more than was announced: it would be taken for the beginning of the next request.
  const source = createReadStream(body.file, { highWaterMark: GATHER_BYTES, end: body.sizeBytes - 1 });
  source.on('error', (error) => request.destroy(error));
  source.on('end', () => {
    if (source.bytesRead < body.sizeBytes) request.destroy(new Error(`the file had ${source.bytesRead} bytes instead of ${body.sizeBytes}`));
  });
  request.on('close', () => source.destroy());
  source.pipe(request);
}

/**
 * Ends a request that is answered.
 *
 * The answer may come before the request is ended: a store knows by the
 * length which byte is the last, and refuses without waiting for any. A
 * request that is never ended would hold its connection until the store
 * gives that up; fifty of those and nothing is sent any more.
 */
export async function endAnswered(request: ClientRequest, accepted: boolean): Promise<void> {
  if (accepted && !request.writableFinished && !request.destroyed) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, END_MS);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      request.once('finish', done);
      request.once('close', done);
    });
  }
  // Its connection goes with it. Sending the rest to a store that refuses would cost more than a new one.
  if (!request.writableFinished) request.destroy();
}
