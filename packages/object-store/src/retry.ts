import { pause } from '@backhaul/runtime';
import { isTransient } from './failures.ts';
import { S3Refusal } from './s3-refusal.ts';

/** Before the second try; doubled before each further one. */
const FIRST_PAUSE_MS = 100;
/** The same where the store, or another writer of the key, has too much to do. */
const FIRST_PAUSE_OF_BUSY_MS = 500;
/** No pause is longer, whatever the store asks for: what takes longer is for the job's own retries. */
export const LONGEST_PAUSE_MS = 3_000;

/** Tries until it works, at most `attempts` times, as long as the failure is one that may pass. The last failure is thrown. */
export async function retried<Result>(attempts: number, signal: AbortSignal, once: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await once();
    } catch (error) {
      if (signal.aborted || tries >= attempts || !isTransient(error)) throw error;
      await pause(pauseMs(error, tries), signal);
      if (signal.aborted) throw error;
    }
  }
}

/** Full jitter: writers that were refused together do not come back together. */
function pauseMs(error: unknown, tries: number): number {
  const refusal = error instanceof S3Refusal ? error : undefined;
  const busy = refusal !== undefined && (refusal.status === 409 || refusal.status === 429 || refusal.status === 503);
  const jittered = Math.random() * (busy ? FIRST_PAUSE_OF_BUSY_MS : FIRST_PAUSE_MS) * 2 ** (tries - 1);
  return Math.min(Math.max(jittered, refusal?.retryAfterMs ?? 0), LONGEST_PAUSE_MS);
}
