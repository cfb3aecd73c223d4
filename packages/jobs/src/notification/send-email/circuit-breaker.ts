/** Keeps calls away from something that does not work. */
export interface CircuitBreaker {
  /** How long to stay away: 0 when it may be asked now. While it is half open one may ask at a time. */
  enter(): { readonly waitMs: number };
  /** What came of the call that `enter` let in. `neither`: it says nothing about the other side. */
  leave(result: 'works' | 'fails' | 'neither'): void;
  readonly state: 'closed' | 'open' | 'half_open';
}

/** When it opens and for how long. */
export interface CircuitBreakerOptions {
  /** So many failures in a row open it. */
  readonly failures: number;
  /** Then nobody asks for so long, and after that one at a time, until one works. */
  readonly openMs: number;
  readonly now?: () => number;
}

/** How long others stay away while the one of the half open state is still asking. */
const PROBE_WAIT_MS = 1_000;

/**
 * | state | who may ask | what changes it |
 * |---|---|---|
 * | closed | everybody | `failures` failures in a row: open |
 * | open | nobody | `openMs` later: half open |
 * | half open | one at a time | it works: closed; it fails: open again |
 */
export function createCircuitBreaker({ failures, openMs, now = Date.now }: CircuitBreakerOptions): CircuitBreaker {
  let inARow = 0;
  let openUntil: number | undefined;
  let probing = false;
  return {
    get state() {
      if (openUntil === undefined) return 'closed';
      return now() < openUntil ? 'open' : 'half_open';
    },
    enter() {
      if (openUntil === undefined) return { waitMs: 0 };
      const waitMs = openUntil - now();
      if (waitMs > 0) return { waitMs };
      if (probing) return { waitMs: PROBE_WAIT_MS };
      probing = true;
      return { waitMs: 0 };
    },
    leave(result) {
      probing = false;
      if (result === 'works') {
        inARow = 0;
        openUntil = undefined;
      }
      if (result !== 'fails') return;
      inARow += 1;
      // One that was let in before it opened says nothing new: the time is not set back.
      if (inARow >= failures && (openUntil === undefined || now() >= openUntil)) openUntil = now() + openMs;
    },
  };
}
