/** When a failed attempt is tried again; plain data, so that it can be shown and stored. */
export interface RetryPolicy {
  /** Tries in all, the first included. */
  readonly attempts: number;
  /** The wait before the second try; each further wait doubles. */
  readonly firstDelayMs: number;
}

/**
 * Exponential back-off. With `{ attempts: 4, firstDelayMs: 5_000 }`:
 *
 * | failed tries | next try after |
 * |---|---|
 * | 1 | 5 s |
 * | 2 | 10 s |
 * | 3 | 20 s |
 * | 4 | never: dead letter |
 */
export function exponential(policy: RetryPolicy): RetryPolicy {
  return policy;
}

/** The wait after `failures` failed tries, or undefined when there is none left. */
export function nextDelayMs(policy: RetryPolicy, failures: number): number | undefined {
  return failures >= policy.attempts ? undefined : policy.firstDelayMs * 2 ** (failures - 1);
}
