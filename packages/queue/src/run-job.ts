import { type Logger, describeError, pause } from '@backhaul/runtime';
import type { JobDefinition, JobHandler } from './define-job.ts';
import type { JobLedger, RunClosings, RunFinish, StartedRun } from './ledger.ts';
import { type Outcome, PermanentFailure, RetryLater, TimedOut } from './outcome.ts';
import { nextDelayMs } from './retry.ts';

/** How one run of a job ended, for the queue and the metrics. */
export type RunResult =
  | { readonly status: 'done' | 'skipped' }
  /** Closed as a dead letter. */
  | { readonly status: 'dead'; readonly reason: string; readonly error: Error }
  /** To be run again after `delayMs`. `unrecorded`: the record could not be told, so it does not know of the delay. */
  | { readonly status: 'again'; readonly delayMs: number; readonly because: 'failed' | 'postponed' | 'handed_back' | 'unrecorded' };

/** Why a run is asked to end early; the reason of the abort signal. */
export class RunAborted extends Error {
  readonly code: 'stopping' | 'lock_lost' | 'cancelled';

  constructor(code: RunAborted['code']) {
    super(`the run was ended: ${code}`);
    this.name = 'RunAborted';
    this.code = code;
  }
}

/** One run of one job. */
export interface Run<Ports> {
  readonly messageId: string;
  readonly jobs: ReadonlyMap<string, { job: JobDefinition; handler: JobHandler<unknown, Ports> }>;
  readonly ports: Ports;
  readonly log: Logger;
  /** This run's own. Aborted from outside, with a RunAborted, when the run must end early. */
  readonly end: AbortController;
  progress(percent: number): void;
  /** Called once the ledger has opened the run. */
  started?(info: { job: JobDefinition; attempt: number; receivedAt: Date }): void;
  /** One of many of its kind: its good end is worth a debug line only. */
  readonly quiet?: boolean;
  /** Takes the place of the job's handler: the message was in a batch and goes on from where that left it. It runs even when the run must end, to settle what was begun. */
  readonly goOn?: JobHandler<unknown, Ports> | undefined;
}

/** How long a job may be postponed in all. */
const MAX_POSTPONED_MS = 24 * 3_600_000;
/** And how often at least: a job that lay untouched over a weekend is not given up at its first "later". */
const MIN_POSTPONEMENTS = 10;
/** How long a handler may take to notice its aborted signal before the run is closed without it. */
export const ABORT_GRACE_MS = 5_000;
/** How long a job waits when the record cannot be reached. */
const LEDGER_AWAY_DELAY_MS = 3_000;
/** How long a job waits when its handler cannot tell for how long. */
const UNKNOWN_DELAY_MS = 60_000;
/** No job waits longer than this before it looks again. */
const MAX_DELAY_MS = 86_400_000;
/** How long a finished run keeps trying to write its outcome down before it leaves the job to a re-run. */
const WRITE_PATIENCE_MS = 20_000;

/**
 * Runs a job once: opens the run in the ledger, reads the payload, calls the
 * handler within its time limit, and closes the run with what came of it.
 *
 * | the handler | the job |
 * |---|---|
 * | returns `done(..)` or `skipped(..)` | is closed so |
 * | throws PermanentFailure | is a dead letter at once, reason = its code |
 * | throws RetryLater | runs again after its delay; no try is used up; a day after its first run it is a dead letter `postponed_too_long` |
 * | throws anything else, or runs out of time | runs again by its retry policy, after the last try it is a dead letter `exhausted` |
 * | is aborted because the process stops | runs again at once, elsewhere; no try is used up |
 */
export async function runJob<Ports>(run: Run<Ports> & { readonly worker: string; readonly ledger: JobLedger }): Promise<RunResult> {
  let opened;
  try {
    opened = await run.ledger.start(run.messageId, run.worker);
  } catch (error) {
    run.log.warn('the record cannot be reached, job postponed', { error });
    return { status: 'again', delayMs: LEDGER_AWAY_DELAY_MS, because: 'unrecorded' };
  }
  if (opened.state !== 'started') {
    // Finished: it was added again after its work was done. Missing: pruned long ago, or the record was restored from
    // an older backup, and then somebody must know.
    if (opened.state === 'missing') run.log.warn('there is no record of the job, nothing to run');
    else run.log.info('nothing to run', { state: opened.state });
    return { status: 'skipped' };
  }
  return runOpened(run, run.ledger, opened);
}

/** Runs a job whose run is open in the ledger already; the rest is as in `runJob`. */
export async function runOpened<Ports>(run: Run<Ports>, ledger: RunClosings, opened: StartedRun): Promise<RunResult> {
  const { name, attempt, failures } = opened;
  const log = run.log.child({ job: name, attempt });
  const close = (closing: Closing) => closeRun(ledger, run.messageId, log, attempt, closing);
  const known = run.jobs.get(name);
  if (known === undefined) {
    const failure = new PermanentFailure('unknown_job', `this worker has no handler for ${name}`);
    return close({ status: 'dead', reason: failure.code, error: failure });
  }
  const { job, handler } = known;
  run.started?.({ job, attempt, receivedAt: opened.receivedAt });
  const payload = job.payload.safeParse(opened.payload);
  if (!payload.success) {
    const failure = new PermanentFailure('payload', payload.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '));
    return close({ status: 'dead', reason: failure.code, error: failure });
  }
  const startedAt = performance.now();
  try {
    const lastTry = nextDelayMs(job.retry, failures + 1) === undefined;
    const outcome = await callHandler(run, job, run.goOn ?? handler, payload.data, { attempt, lastTry, receivedAt: opened.receivedAt }, log);
    log[run.quiet === true ? 'debug' : 'info']('job finished', { status: outcome.status, runMs: Math.round(performance.now() - startedAt) });
    return await close({ status: outcome.status, outcome });
  } catch (error) {
    return close(judge(error, job, opened));
  }
}

type Closing =
  | { readonly status: 'done' | 'skipped'; readonly outcome: Outcome }
  | { readonly status: 'dead'; readonly reason: string; readonly error: Error }
  | { readonly status: 'again'; readonly delayMs: number; readonly because: 'failed' | 'postponed' | 'handed_back'; readonly error: Error };

/** What a failure means for the job. */
function judge(
  thrown: unknown,
  job: JobDefinition,
  { attempt, failures, firstStartedAt }: { attempt: number; failures: number; firstStartedAt: Date },
): Closing {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (error instanceof RunAborted) return { status: 'again', delayMs: 0, because: 'handed_back', error };
  // A provider that says "later" for ever would otherwise keep the job, and its place in the queue, for ever.
  if (error instanceof RetryLater && attempt > MIN_POSTPONEMENTS && Date.now() - firstStartedAt.getTime() > MAX_POSTPONED_MS)
    return { status: 'dead', reason: 'postponed_too_long', error };
  if (error instanceof RetryLater) return { status: 'again', delayMs: usable(error.delayMs), because: 'postponed', error };
  if (error instanceof PermanentFailure) return { status: 'dead', reason: error.code, error };
  const delayMs = nextDelayMs(job.retry, failures + 1);
  return delayMs === undefined
    ? { status: 'dead', reason: error instanceof TimedOut ? 'timeout' : 'exhausted', error }
    : { status: 'again', delayMs, because: 'failed', error };
}

/** A delay that can be stored: it comes from a provider's header, and one that is refused would run the job again, for ever. */
function usable(delayMs: number): number {
  return Number.isNaN(delayMs) ? UNKNOWN_DELAY_MS : Math.min(MAX_DELAY_MS, Math.max(0, Math.trunc(delayMs)));
}

async function callHandler<Ports>(
  run: Run<Ports>,
  job: JobDefinition,
  handler: JobHandler<unknown, Ports>,
  payload: unknown,
  tries: { attempt: number; lastTry: boolean; receivedAt: Date },
  log: Logger,
): Promise<Outcome> {
  // The lock was lost, or the stop began, while the run was being opened.
  const { signal } = run.end;
  if (signal.aborted && run.goOn === undefined) throw signal.reason;
  const timer = setTimeout(() => run.end.abort(new TimedOut(job.timeoutMs)), job.timeoutMs);
  let giveUp: NodeJS.Timeout | undefined;
  let over = false;
  try {
    return await new Promise<Outcome>((resolve, reject) => {
      signal.addEventListener('abort', () => {
        if (over) return;
        // A handler that ignores its signal must not hold the slot for ever.
        giveUp = setTimeout(() => {
          log.error('handler ignored its abort signal');
          reject(signal.reason as Error);
        }, ABORT_GRACE_MS);
      });
      handler(payload, { ports: run.ports, signal, log, messageId: run.messageId, ...tries, progress: run.progress }).then(resolve, reject);
    });
  } catch (error) {
    // What a handler throws once its signal is aborted is only the echo of the abort.
    if (signal.aborted && !(error instanceof PermanentFailure)) throw signal.reason;
    throw error;
  } finally {
    over = true;
    clearTimeout(timer);
    clearTimeout(giveUp);
  }
}

/** How a run ends that could not be written down. */
export const UNRECORDED = { status: 'again', delayMs: LEDGER_AWAY_DELAY_MS, because: 'unrecorded' } as const satisfies RunResult;

/** Writes the end of a run down, patiently: the work is done, and a re-run is the dearer way to note it. Undefined when it could not be. */
export async function recordEnd<Answer>(log: Logger, status: string, write: () => Promise<Answer>): Promise<Answer | undefined> {
  const deadline = Date.now() + WRITE_PATIENCE_MS;
  for (let delayMs = 100; ; delayMs = Math.min(2_000, delayMs * 2)) {
    try {
      return await write();
    } catch (error) {
      if (Date.now() + delayMs > deadline) {
        log.error('the end of the run could not be recorded, the job will run again', { status, error });
        return undefined;
      }
      await pause(delayMs);
    }
  }
}

/** What this run would do to the queue's job is the later run's to do, and its dead letter does not exist. */
export function superseded(log: Logger, status: string): RunResult {
  log.warn('the run was superseded, its end is not recorded', { status });
  return { status: 'skipped' };
}

async function closeRun(ledger: RunClosings, messageId: string, log: Logger, attempt: number, closing: Closing): Promise<RunResult> {
  const mine = await recordEnd(log, closing.status, () => write(ledger, messageId, attempt, closing));
  if (mine === undefined) return UNRECORDED;
  if (!mine) return superseded(log, closing.status);
  switch (closing.status) {
    case 'done':
    case 'skipped':
      return { status: closing.status };
    case 'dead':
      log.error('job is a dead letter', { reason: closing.reason, error: closing.error });
      return closing;
    case 'again':
      log.warn('job will run again', { because: closing.because, delayMs: closing.delayMs, error: closing.error });
      return { status: 'again', delayMs: closing.delayMs, because: closing.because };
  }
}

function write(ledger: RunClosings, messageId: string, attempt: number, closing: Closing): Promise<boolean> {
  switch (closing.status) {
    case 'done':
    case 'skipped':
      return ledger.finish(messageId, attempt, finishOf(closing.outcome));
    case 'dead':
      return ledger.bury(messageId, attempt, { reason: closing.reason, error: describeError(closing.error) });
    case 'again':
      return closing.because === 'failed'
        ? ledger.retry(messageId, attempt, { error: describeError(closing.error), delayMs: closing.delayMs })
        : ledger.postpone(messageId, attempt, { code: codeOf(closing.error), message: closing.error.message, delayMs: closing.delayMs });
  }
}

/** What is kept of a good end. */
export function finishOf(outcome: Outcome): RunFinish {
  if (outcome.status === 'done') return outcome;
  const { status, reason, detail } = outcome;
  return { status, result: { reason, ...(detail === undefined ? {} : { detail }) } };
}

function codeOf(error: Error): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : error.name;
}
