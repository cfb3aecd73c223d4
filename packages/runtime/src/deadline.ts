/** Something outside did not answer in time. Transient: the caller may try again. */
export class DeadlineExceeded extends Error {
  readonly code = 'deadline_exceeded';

  constructor(what: string, timeoutMs: number) {
    super(`${what} took longer than ${timeoutMs} ms`);
    this.name = 'DeadlineExceeded';
  }
}

/**
 * Waits for `work`, but no longer than `timeoutMs`.
 *
 * The work itself is not stopped (a promise cannot be): give it a signal too
 * where it takes one. Its late failure is swallowed here, so that it cannot
 * end the process as an unhandled rejection.
 *
 * @throws {DeadlineExceeded} when the time is over
 */
export async function withDeadline<Result>(what: string, timeoutMs: number, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new DeadlineExceeded(what, timeoutMs)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits `delayMs`, or less: returns at once when `signal` aborts. Never throws. */
export function pause(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, delayMs);
    signal?.addEventListener('abort', finish, { once: true });
  });
}
