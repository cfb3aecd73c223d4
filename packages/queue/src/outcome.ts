/** How a handler ends when nothing went wrong. Anything it throws is one of the failures below, or a failed try. */
export type Outcome =
  /** The work was done; `result` is small, is stored with the job, and can be looked up. */
  | { readonly status: 'done'; readonly result: Readonly<Record<string, unknown>> }
  /** There was nothing to do, and that is right; `reason` is a stable word. */
  | { readonly status: 'skipped'; readonly reason: string; readonly detail?: string };

/** The work was done. */
export function done(result: Readonly<Record<string, unknown>> = {}): Outcome {
  return { status: 'done', result };
}

/** Nothing had to be done: `skipped('message_deleted')`. */
export function skipped(reason: string, detail?: string): Outcome {
  return { status: 'skipped', reason, ...(detail === undefined ? {} : { detail }) };
}

/**
 * No later try can succeed: the input is at fault. The job becomes a dead
 * letter at once. `code` is stable; `message` says what was found and what
 * would have been right.
 */
export class PermanentFailure extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PermanentFailure';
    this.code = code;
  }
}

/** Not now: try again after `delayMs`. Uses up no try; for a provider that says when to come back. */
export class RetryLater extends Error {
  readonly code: string;
  readonly delayMs: number;

  constructor(code: string, delayMs: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RetryLater';
    this.code = code;
    this.delayMs = delayMs;
  }
}

/** The try ran into the job's time limit. Counts as a failed try. */
export class TimedOut extends Error {
  readonly code = 'timeout';

  constructor(timeoutMs: number, options?: ErrorOptions) {
    super(`the job ran longer than its limit of ${timeoutMs} ms`, options);
    this.name = 'TimedOut';
  }
}
