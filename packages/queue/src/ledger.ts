/**
 * The record of jobs, as the worker needs it. Implemented by
 * `createJobLedger` of @backhaul/database; declared here so that the queue
 * knows nothing of Postgres.
 */
export interface JobLedger extends RunClosings {
  start(messageId: string, worker: string): Promise<LedgerStart>;
  /** Opens many runs with one read: those of the messages that are open and that this Bull job carries. They are closed through `closings`. */
  startCarried(messageIds: readonly string[], carrier: string, worker: string): Promise<{ jobs: ReadonlyMap<string, StartedRun>; closings: RunClosings }>;
  /** These jobs, of those that this Bull job carries, are not carried any more: a later run of it leaves them out. */
  leaveCarrier(messageIds: readonly string[], carrier: string): Promise<void>;
}

/** The end of a run in which nothing went wrong. */
export interface RunFinish {
  readonly status: 'done' | 'skipped';
  readonly result: Readonly<Record<string, unknown>>;
}

/** How runs are closed. Each answers false when another run has taken over. */
export interface RunClosings {
  finish(messageId: string, attempt: number, outcome: RunFinish): Promise<boolean>;
  /** The same for many, in one statement; the answers are in their order. */
  finishAll(finishes: readonly (RunFinish & { readonly messageId: string; readonly attempt: number })[]): Promise<readonly boolean[]>;
  retry(messageId: string, attempt: number, failure: { error: LedgerError; delayMs: number }): Promise<boolean>;
  postpone(messageId: string, attempt: number, reason: { code: string; message: string; delayMs: number }): Promise<boolean>;
  bury(messageId: string, attempt: number | undefined, failure: { reason: string; error: LedgerError }): Promise<boolean>;
}

/** What opening a run answers. */
export type LedgerStart = StartedRun | { readonly state: 'finished' | 'missing' };

/** A run that is open. */
export interface StartedRun {
  readonly state: 'started';
  readonly name: string;
  readonly payload: unknown;
  readonly attempt: number;
  readonly failures: number;
  readonly traceparent: string | null;
  readonly receivedAt: Date;
  /** When its first run began, or the first since it was opened again. */
  readonly firstStartedAt: Date;
}

/** What is kept of an error. */
export interface LedgerError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly cause?: unknown;
}
