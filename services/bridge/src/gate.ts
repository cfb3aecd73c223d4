import type { Database } from '@backhaul/database';
import type { Producer } from '@backhaul/queue';
import { type Logger, pause } from '@backhaul/runtime';

/**
 * Waits until Postgres and Redis both take writes: consuming before would only
 * take messages to give them back, and each time counts towards the delivery
 * limit. An answer is not enough, a replica and a full Redis answer as well.
 */
export function createGate(database: Pick<Database, 'query'>, producer: Pick<Producer, 'probe'>, log: Logger): (signal: AbortSignal) => Promise<void> {
  return async (signal) => {
    for (let delayMs = 100; !signal.aborted; delayMs = Math.min(1_000, delayMs * 2)) {
      try {
        await Promise.all([takesWrites(database), producer.probe()]);
        return;
      } catch (error) {
        log.warn('waiting for Postgres and Redis', { error });
        await pause(delayMs, signal);
      }
    }
  };
}

async function takesWrites(database: Pick<Database, 'query'>): Promise<void> {
  const { rows } = await database.query<{ readOnly: string }>(`SELECT current_setting('transaction_read_only') AS "readOnly"`);
  if (rows[0]?.readOnly !== 'off') throw new Error('Postgres is read-only: a replica, or set so');
}

/**
 * The high-water mark of a Bull queue: says to stop at `highWater` jobs and to
 * go on below four fifths of it. The batch that was just added tells the depth
 * for nothing; Redis is asked when there was none of late, and while stopped.
 */
export function createPressure(producer: Pick<Producer, 'depth' | 'seenDepth'>, queue: string, highWater: number): () => Promise<string | undefined> {
  let above = false;
  return async () => {
    const depth = (above ? undefined : producer.seenDepth(queue)) ?? (await producer.depth(queue));
    above = depth >= (above ? highWater * 0.8 : highWater);
    return above ? `${depth} jobs wait in ${queue}, the high-water mark is ${highWater}` : undefined;
  };
}
