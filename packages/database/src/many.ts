const WINDOW_MS = 10_000;

/** So many rows make a table that nobody reads as a whole to find some hundred. */
const MANY = 5_000;

/** Tells when statements that look rows up by key are worth preparing, and may be. */
export interface Many {
  /** So many rows of the table were written just now, each for the only time. */
  add(rows: number): void;
  /** How to ask a statement about them. */
  readonly how: 'prepared' | undefined;
}

/**
 * Planning such a statement is a tenth of its cost, but a plan that was made while the table was small reads it as a whole, and
 * is kept while it grows. So it is prepared while many rows come: whenever its plan is made, the table holds them already.
 */
export function createMany(): Many {
  let since = performance.now();
  let before = 0;
  let rows = 0;
  const turn = () => {
    const age = performance.now() - since;
    if (age < WINDOW_MS) return;
    before = age < 2 * WINDOW_MS ? rows : 0;
    rows = 0;
    since = performance.now();
  };
  return {
    add(more) {
      turn();
      rows += more;
    },
    get how() {
      turn();
      return before + rows >= MANY ? 'prepared' : undefined;
    },
  };
}
