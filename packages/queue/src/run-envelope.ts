import type { Logger } from '@backhaul/runtime';
import type { JobLedger, RunClosings, StartedRun } from './ledger.ts';
import type { RunResult } from './run-job.ts';

/** One run of an envelope: a Bull job that carries many messages. */
export interface EnvelopeRun {
  /** The Bull job's id, which the messages' records name as their carrier. */
  readonly id: string;
  readonly messageIds: readonly string[];
  readonly worker: string;
  readonly ledger: Pick<JobLedger, 'startCarried' | 'leaveCarrier'>;
  readonly log: Logger;
  /** Brings those messages to their ends for which that goes at once, and tells which; the others run one by one. Does not throw. */
  runBatch(opened: ReadonlyMap<string, StartedRun>, closings: RunClosings): Promise<ReadonlyMap<string, RunResult>>;
  /** Runs one message's job to its end. Does not throw. */
  runOne(messageId: string, opened: StartedRun, closings: RunClosings): Promise<RunResult>;
  /** Gives a message a Bull job of its own, due after `delayMs`. */
  addAlone(messageId: string, name: string, delayMs: number): Promise<void>;
  /** Takes the message's own Bull job out of the queue. */
  removeAlone(messageId: string): Promise<void>;
  /** Whether so many more messages may go on without their envelope. */
  mayLeave(count: number): boolean;
  /** Told of the messages that go on without their envelope, and when the last of them has ended. */
  left(count: number, ended: Promise<unknown>): void;
}

/** How long an envelope waits when the record cannot be reached. */
const LEDGER_AWAY_DELAY_MS = 3_000;
/** The share of an envelope that counts as a few; while more than that is slow it is the provider, and nothing more is begun. */
const FEW = 0.1;
/** The last few may take so many times as long as the others took together, */
const PATIENCE = 3;
/** and this long in any case. */
const MIN_PATIENCE_MS = 250;
/** When a message that goes on without its envelope is run by its own Bull job, should this process die. Longer than any run of it may take. */
const LEFT_DELAY_MS = 120_000;

/**
 * Runs the jobs of one envelope: first together, as far as their batch handler
 * gets, then what is left side by side. Each of those has its own run, time
 * limit and end; what they share is the read that opens them, and the
 * statements in which their ends are written.
 *
 * | a job | what follows |
 * |---|---|
 * | is done, skipped or dead | it is closed; a later run of the envelope leaves it out |
 * | is to run again | it leaves the envelope for a Bull job of its own, and delays none of its neighbours |
 * | is handed back, or its end could not be recorded | it stays, and the envelope runs again for what stayed |
 * | is one of the last few, and slow | it goes on, and leaves the envelope for a Bull job of its own, so that the next envelope can have the place |
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
  const startedAt = performance.now();
  const ended = await run.runBatch(jobs, closings);
  for (const result of ended.values()) {
    counts[result.status] += 1;
    if (result.status === 'again') againInMs = Math.max(againInMs ?? 0, result.delayMs);
  }
  const running = new Map<string, Promise<void>>();
  const few = Math.max(1, Math.floor(jobs.size * FEW));
  const { promise: placeIsOver, resolve: endPlace } = Promise.withResolvers<void>();
  let patience: NodeJS.Timeout | undefined;
  const waitForFew = () => {
    if (running.size > few || patience !== undefined) return;
    const tookMs = performance.now() - startedAt;
    patience = setTimeout(endPlace, Math.max(MIN_PATIENCE_MS, tookMs * PATIENCE) - tookMs);
  };
  /** Settled once it is known whether those that still ran have left. */
  let leaving: Promise<boolean> | undefined;

  async function runToItsEnd(messageId: string, job: StartedRun): Promise<void> {
    const result = await run.runOne(messageId, job, closings);
    counts[result.status] += 1;
    if (leaving !== undefined && (await leaving)) await replaceOwn(messageId, job.name, result);
    else if (result.status === 'again') {
      if (result.because === 'handed_back' || result.because === 'unrecorded') againInMs = Math.max(againInMs ?? 0, result.delayMs);
      else await goAlone(messageId, job.name, result.delayMs);
    }
    running.delete(messageId);
    waitForFew();
  }

  async function goAlone(messageId: string, name: string, delayMs: number): Promise<void> {
    try {
      await run.addAlone(messageId, name, delayMs);
    } catch (error) {
      // It is on record when it is due: the reconciler adds it.
      run.log.warn('a job that is to run again is not in the queue yet: it will be reconciled', { messageId, error });
    }
  }

  /** The Bull job that was to run it, had this process died, is not needed any more. */
  async function replaceOwn(messageId: string, name: string, result: RunResult): Promise<void> {
    try {
      await run.removeAlone(messageId);
    } catch (error) {
      // It runs when it is due, and finds the job closed, or runs it then.
      run.log.debug('the Bull job of a message that has ended stays until it is due', { messageId, error });
      return;
    }
    if (result.status === 'again') await goAlone(messageId, name, result.delayMs);
  }

  /** First their own Bull jobs, then the record, then the place: whenever this process dies, one of them runs what is not closed. */
  async function leave(): Promise<boolean> {
    const leavers = [...running.keys()];
    if (againInMs !== undefined || !run.mayLeave(leavers.length)) return false;
    try {
      await Promise.all(leavers.map((messageId) => run.addAlone(messageId, jobs.get(messageId)?.name ?? '', LEFT_DELAY_MS)));
      await run.ledger.leaveCarrier(leavers, run.id);
    } catch (error) {
      run.log.warn('slow messages could not leave their envelope, which waits for them', { messages: leavers.length, error });
      return false;
    }
    run.left(leavers.length, Promise.all(running.values()));
    return true;
  }

  for (const [messageId, job] of jobs) if (!ended.has(messageId)) running.set(messageId, runToItsEnd(messageId, job));
  const allEnded = Promise.all(running.values());
  // The others may have ended in the batch, all of them.
  if (ended.size > 0) waitForFew();
  await Promise.race([allEnded, placeIsOver]);
  clearTimeout(patience);
  const wentOn = running.size;
  if (wentOn > 0) leaving = leave();
  if ((await leaving) !== true) await allEnded;
  run.log.info('envelope finished', { messages: run.messageIds.length, opened: jobs.size, ...counts, ...(leaving === undefined ? {} : { wentOn }) });
  return againInMs;
}
