import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ObjectTooLarge, StoreUnavailable } from './failures.ts';

/** Files are read and written in such pieces: the 64 KiB in which a socket delivers cost as much in calls as in copying. */
export const GATHER_BYTES = 512 * 1024;

/** Keeps what has arrived; no more is taken before its promise is settled. */
export type Keep = (chunks: readonly Buffer[]) => Promise<void>;

/**
 * Counts and hashes a body, and has `keep` keep it; the socket is freed however it ends.
 * @throws {ObjectTooLarge} more than `maxBytes`
 * @throws {StoreUnavailable} fewer bytes than were declared
 */
export async function takeBody(
  key: string,
  body: Readable,
  { declaredBytes, maxBytes, signal }: { readonly declaredBytes: number | undefined; readonly maxBytes: number; readonly signal: AbortSignal },
  keep: Keep,
): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const keepAll = async (source: AsyncIterable<Buffer>): Promise<void> => {
    let gathered: Buffer[] = [];
    let gatheredBytes = 0;
    for await (const chunk of source) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBytes) throw new ObjectTooLarge(key, maxBytes);
      hash.update(chunk);
      gathered.push(chunk);
      gatheredBytes += chunk.length;
      if (gatheredBytes < GATHER_BYTES) continue;
      await keep(gathered);
      gathered = [];
      gatheredBytes = 0;
    }
    await keep(gathered);
  };
  await pipeline(body, keepAll, { signal });
  if (declaredBytes !== undefined && sizeBytes < declaredBytes) {
    throw new StoreUnavailable(`get ${key}`, new Error(`the body ended after ${sizeBytes} of ${declaredBytes} bytes`));
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}
