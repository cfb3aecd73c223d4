import type { Jobs, OpenJob } from '@backhaul/database';
import { type Producer, seal } from '@backhaul/queue';
import { type Closeable, type Logger, pause } from '@backhaul/runtime';

/** What the reconciler needs. */
export interface ReconcilerOptions {
  readonly jobs: Pick<Jobs, 'idle' | 'carry'>;
  readonly producer: Pick<Producer, 'addBatch' | 'missing' | 'redis'>;
  /** How many jobs of this name may travel in one Bull job. */
  readonly envelopeOf: (name: string) => number;
  /** Key that marks this Redis as one whose jobs are known to be there. */
  readonly markerKey: string;
  readonly intervalMs: number;
  readonly idleMs: number;
  readonly onAdded: (queue: string, count: number) => void;
  readonly log: Logger;
}

const PAGE = 1_000;
const LOOK_FOR_MARKER_EVERY_MS = 2_000;
/** After Redis was emptied, jobs touched this recently may still be on their way in. */
const FRESH_MS = 1_000;

/**
 * Adds recorded jobs that no longer exist in Redis again. It walks all open
 * jobs at each interval; when Redis has lost its marker (restarted empty,
 * failed over to an empty replica) it does so at once.
 */
export function startReconciler(options: ReconcilerOptions): Closeable {
  const stop = new AbortController();

  async function run(): Promise<void> {
    let nextAt = Date.now() + options.intervalMs;
    while (!stop.signal.aborted) {
      await pause(Math.min(LOOK_FOR_MARKER_EVERY_MS, options.intervalMs), stop.signal);
      if (stop.signal.aborted) break;
      try {
        const lost = (await options.producer.redis.exists(options.markerKey)) === 0;
        if (!lost && Date.now() < nextAt) continue;
        const added = await reconcile(options, lost ? Math.min(FRESH_MS, options.idleMs) : options.idleMs, stop.signal);
        if (lost) await options.producer.redis.set(options.markerKey, new Date().toISOString());
        if (added > 0) options.log.error('jobs were missing from Redis and have been added again', { added, redisWasEmpty: lost });
        nextAt = Date.now() + options.intervalMs;
      } catch (error) {
        options.log.warn('reconciling put off', { error });
      }
    }
  }

  const running = run();
  return {
    async close() {
      stop.abort();
      await running;
    },
  };
}

type Reconciling = Pick<ReconcilerOptions, 'jobs' | 'producer' | 'envelopeOf' | 'onAdded'>;

/** One walk over the open jobs that nobody touched for `idleMs`. Returns how many were added again. */
export async function reconcile(options: Reconciling, idleMs: number, signal: AbortSignal): Promise<number> {
  let added = 0;
  let after = '';
  while (!signal.aborted) {
    const page = await options.jobs.idle({ idleMs, after, limit: PAGE });
    for (const [queue, jobs] of Map.groupBy(page, (job) => job.queue)) added += await addMissing(options, queue, jobs);
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) break;
    after = last.messageId;
  }
  return added;
}

async function addMissing(options: Reconciling, queue: string, jobs: readonly OpenJob[]): Promise<number> {
  const missing = await options.producer.missing(queue, jobs).then((all) => [
    ...seal(
      all.filter(({ carrier }) => carrier !== null),
      options.envelopeOf,
    ),
    // What travelled alone had a reason to: it was too large, or is being tried again.
    ...all.filter(({ carrier }) => carrier === null),
  ]);
  if (missing.length === 0) return 0;
  // Some finished between the two looks: asking again keeps their jobs from being run for nothing.
  const open = await options.jobs.carry(missing);
  const lost = missing.filter((job) => open.has(job.messageId));
  await options.producer.addBatch(queue, lost);
  options.onAdded(queue, lost.length);
  return lost.length;
}
