import type { Logger } from '@backhaul/runtime';
import type { JobLedger, RunClosings, StartedRun } from './ledger.ts';
import type { RunResult } from './run-job.ts';

/** One run of an envelope: a Bull job that carries many messages. */
export interface EnvelopeRun {
  /** The Bull job's id, which the messages' records name as their carrier. */
  readonly id: string;
  readonly messageIds: readonly string[];
  readonly worker: string;
  readonly ledger: Pick<JobLedger, 'startCarried'>;
  readonly log: Logger;
  /** Runs one message's job to its end. Does not throw. */
  runOne(messageId: string, opened: StartedRun, closings: RunClosings): Promise<RunResult>;
  /** Gives a message a Bull job of its own, due after `delayMs`. */
  addAlone(messageId: string, name: string, delayMs: number): Promise<void>;
}

/** How long an envelope waits when the record cannot be reached. */
const LEDGER_AWAY_DELAY_MS = 3_000;

/**
 * Runs the jobs of one envelope side by side. Each has its own run, time
 * limit and end; what they share is the read that opens them, and the
 * statements in which their ends are written.
 *
 * | a job | what follows |
 * |---|---|
 * | is done, skipped or dead | it is closed; a later run of the envelope leaves it out |
 * | is to run again | it leaves the envelope for a Bull job of its own, and delays none of its neighbours |
 * | is handed back, or its end could not be recorded | it stays, and the envelope runs again for what stayed |
 *
 * @returns after how long the envelope must run again, or undefined when nothing stayed in it
 */
export async function runEnvelope(run: EnvelopeRun): Promise<number | undefined> {
  let opened;
  try {
    opened = await run.ledger.startCarried(run.messageIds, run.id, run.worker);
  } catch (error) {
    run.log.warn('the record cannot be reached, envelope postponed', { error });
    return LEDGER_AWAY_DELAY_MS;
  }
  const { jobs, closings } = opened;
  const counts: Record<RunResult['status'], number> = { done: 0, skipped: 0, dead: 0, again: 0 };
  let againInMs: number | undefined;
  await Promise.all(
    Array.from(jobs, async ([messageId, job]) => {
      const result = await run.runOne(messageId, job, closings);
      counts[result.status] += 1;
      if (result.status !== 'again') return;
      if (result.because === 'handed_back' || result.because === 'unrecorded') {
        againInMs = Math.max(againInMs ?? 0, result.delayMs);
        return;
      }
      try {
        await run.addAlone(messageId, job.name, result.delayMs);
      } catch (error) {
        // It is on record when it is due: the reconciler adds it.
        run.log.warn('a job that is to run again is not in the queue yet: it will be reconciled', { messageId, error });
      }
    }),
  );
  run.log.info('envelope finished', { messages: run.messageIds.length, opened: jobs.size, ...counts });
  return againInMs;
}
