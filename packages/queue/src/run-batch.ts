import type { Logger } from '@backhaul/runtime';
import type { BatchHandler, BatchMessage, JobDefinition, JobHandler } from './define-job.ts';
import type { RunClosings, StartedRun } from './ledger.ts';
import { type Outcome, PermanentFailure, TimedOut } from './outcome.ts';
import { ABORT_GRACE_MS, RunAborted, type RunResult, UNRECORDED, finishOf, recordEnd, superseded } from './run-job.ts';

/** The first runs of many messages of one kind. */
export interface BatchRun<Ports> {
  readonly job: JobDefinition;
  readonly batch: BatchHandler<unknown, Ports>;
  readonly opened: ReadonlyMap<string, StartedRun>;
  readonly closings: Pick<RunClosings, 'finishAll'>;
  readonly ports: Ports;
  readonly log: Logger;
  /** This batch's own. Aborted from outside, with a RunAborted, when it must end early. */
  readonly end: AbortController;
}

/** What became of a batch. */
export interface BatchResult<Ports> {
  /** The messages that it brought to an end. */
  readonly ended: ReadonlyMap<string, RunResult>;
  /** Those that go on by themselves from where it left them, or are handed back. What is in neither runs as if there had been no batch. */
  readonly goOn: ReadonlyMap<string, JobHandler<unknown, Ports>>;
}

/**
 * Gives messages to their job's batch handler, and closes the runs of those
 * that it brought to an end in one statement. Does not throw: when the handler
 * does, all of them run by themselves.
 */
export async function runBatch<Ports>({ job, batch, opened, closings, ports, log, end }: BatchRun<Ports>): Promise<BatchResult<Ports>> {
  const messages: BatchMessage<unknown>[] = [];
  for (const [messageId, { payload, receivedAt, attempt }] of opened) {
    // A payload that is refused, and what a run before this one may have begun, are for the job's own run.
    if (attempt > 1) continue;
    const parsed = job.payload.safeParse(payload);
    if (parsed.success) messages.push({ messageId, payload: parsed.data, receivedAt });
  }
  const goOn = new Map<string, JobHandler<unknown, Ports>>();
  const outcomes: { readonly messageId: string; readonly outcome: Outcome }[] = [];
  let ignored = false;
  if (messages.length > 0 && !end.signal.aborted) {
    const timer = setTimeout(() => end.abort(new TimedOut(job.timeoutMs)), job.timeoutMs);
    try {
      const answers = await orGivenUp(batch(messages, { ports, log, signal: end.signal }), end.signal);
      const endedEarly = end.signal.aborted;
      for (const [messageId, answer] of answers) {
        if (typeof answer === 'function') goOn.set(messageId, linked(answer, end, endedEarly));
        else outcomes.push({ messageId, outcome: answer });
      }
    } catch (error) {
      ignored = error instanceof AbortIgnored;
      log.error('a batch handler failed', { job: job.name, messages: messages.length, error });
    } finally {
      clearTimeout(timer);
    }
  }
  const ended = await finish(outcomes, closings, log);
  const { reason } = end.signal as { readonly reason: unknown };
  // Begun anew here, it would run beside whoever has it next, or beside the batch that does not end.
  if (reason instanceof RunAborted || (ignored && reason instanceof Error))
    for (const messageId of opened.keys()) if (!ended.has(messageId) && !goOn.has(messageId)) goOn.set(messageId, () => Promise.reject(reason));
  return { ended, goOn };
}

/** The batch handler took no notice of its signal. */
class AbortIgnored extends Error {
  constructor() {
    super(`the batch handler ignored its abort signal for ${ABORT_GRACE_MS} ms`);
    this.name = 'AbortIgnored';
  }
}

/** What the batch answers. Once it is aborted it has a while to do so: it must not hold its place for ever. */
async function orGivenUp<Answers>(answering: Promise<Answers>, signal: AbortSignal): Promise<Answers> {
  let timer: NodeJS.Timeout | undefined;
  const { promise: given, reject: giveUp } = Promise.withResolvers<never>();
  const onAbort = () => (timer = setTimeout(() => giveUp(new AbortIgnored()), ABORT_GRACE_MS));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([answering, given]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}

/** What the batch began ends by the batch's signal: whoever goes on with it can still end it. `endedEarly`: it has been ended, and so are the runs that go on. */
function linked<Ports>(handler: JobHandler<unknown, Ports>, end: AbortController, endedEarly: boolean): JobHandler<unknown, Ports> {
  return async (payload, context) => {
    const pass = () => end.abort(context.signal.reason);
    if (context.signal.aborted) pass();
    else context.signal.addEventListener('abort', pass, { once: true });
    try {
      return await handler(payload, context);
    } catch (error) {
      // As in a run of its own: what is thrown after the abort is only its echo, and must not count as a failed try.
      if (endedEarly && !(error instanceof PermanentFailure)) throw end.signal.reason;
      throw error;
    }
  };
}

async function finish(
  outcomes: readonly { readonly messageId: string; readonly outcome: Outcome }[],
  closings: Pick<RunClosings, 'finishAll'>,
  log: Logger,
): Promise<ReadonlyMap<string, RunResult>> {
  if (outcomes.length === 0) return new Map();
  const finishes = outcomes.map(({ messageId, outcome }) => {
    const { status, result } = finishOf(outcome);
    return { messageId, attempt: 1, status, result };
  });
  const mine = await recordEnd(log, 'done', () => closings.finishAll(finishes));
  return new Map(
    outcomes.map(({ messageId, outcome: { status } }, index) => {
      if (mine === undefined) return [messageId, UNRECORDED];
      return [messageId, mine[index] === true ? { status } : superseded(log.child({ messageId }), status)];
    }),
  );
}
