import { pause } from '@backhaul/runtime';
import type { JobContext } from '@backhaul/queue/job';
import type { CleanupPorts } from './ports.ts';

/** What one batch did. */
export interface Batch {
  /** Rows deleted or changed; for a walk over objects, objects looked at. Counts against the limit. */
  readonly rows: number;
  readonly objects?: number;
  /** Nothing is left to do. */
  readonly last: boolean;
}

/** What a run did, as its job's result. */
export interface CleanupReport {
  readonly rows: number;
  readonly deletedObjects: number;
  readonly batches: number;
  /** False when the limit or the time ended the run first: the next one goes on. */
  readonly complete: boolean;
}

type Run = Pick<JobContext<Pick<CleanupPorts, 'pace'>>, 'ports' | 'signal' | 'log'>;

/** A batch that takes longer holds its locks longer than a chat's writer should have to wait. */
const SLOW_BATCH_MS = 250;
const MIN_BATCH = 10;

/**
 * Works in small batches with a rest between them, until nothing is left, the
 * limit is reached, or the time is up. What was done stays done: every batch
 * is committed by itself.
 *
 * A batch that was slow halves the next ones, a fast one doubles them again
 * up to the pace's size: how many rows are many depends on the row, the
 * indexes, and what else the server has to do.
 *
 * @param step does at most `size` rows
 * @throws the signal's reason when it aborts: the process stops or the job was taken away, so somebody else shall go on
 */
export async function inBatches(
  { ports: { pace }, signal, log }: Run,
  limit: number | undefined,
  step: (size: number) => Promise<Batch>,
): Promise<CleanupReport> {
  const startedAt = performance.now();
  let rows = 0;
  let deletedObjects = 0;
  let batches = 0;
  let size = pace.batchSize;
  const report = (complete: boolean): CleanupReport => ({ rows, deletedObjects, batches, complete });
  for (;;) {
    if (signal.aborted) {
      log.info('cleaning interrupted', { ...report(false) });
      signal.throwIfAborted();
    }
    const left = limit === undefined ? Number.POSITIVE_INFINITY : limit - rows;
    if (left <= 0 || performance.now() - startedAt > pace.budgetMs) return report(false);
    const batchStartedAt = performance.now();
    const batch = await step(Math.min(size, left));
    batches += 1;
    rows += batch.rows;
    deletedObjects += batch.objects ?? 0;
    if (batch.last) return report(true);
    size = nextSize(size, pace.batchSize, performance.now() - batchStartedAt);
    await pause(pace.pauseMs, signal);
  }
}

/** The size of the next batch after one of `size` rows that took `tookMs`. */
export function nextSize(size: number, maxSize: number, tookMs: number): number {
  if (tookMs > SLOW_BATCH_MS) return Math.max(Math.min(MIN_BATCH, maxSize), Math.floor(size / 2));
  return tookMs > SLOW_BATCH_MS / 2 ? size : Math.min(maxSize, size * 2);
}
