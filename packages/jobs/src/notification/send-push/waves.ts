import { setImmediate as nextTurn } from 'node:timers/promises';

/** The share of the promises that counts as a few. */
const few = 0.1;
/** How long the last few are waited for at least, once all others have ended; else as long as those took. */
const minPatienceMs = 50;

/**
 * Hands over what comes of many promises, none of which may reject, in waves:
 * all that ended while the last wave was dealt with. Ends with the last of
 * them, or earlier, when the last few take twice as long as all the others.
 */
export async function* waves<Item, Result>(running: readonly (readonly [Item, Promise<Result>])[]): AsyncGenerator<readonly (readonly [Item, Result])[], void> {
  const startedAt = performance.now();
  let ended: (readonly [Item, Result])[] = [];
  let open = running.length;
  let impatient = false;
  let timer: NodeJS.Timeout | undefined;
  let wake: () => void = () => undefined;
  for (const [item, promise] of running)
    void promise.then((result) => {
      ended.push([item, result]);
      wake();
    });
  try {
    while (open > 0) {
      if (ended.length === 0 && !impatient) await new Promise<void>((resolve) => (wake = resolve));
      // With the first of a turn come others.
      if (ended.length > 0) await nextTurn();
      else return;
      const wave = ended;
      ended = [];
      open -= wave.length;
      yield wave;
      if (open > Math.max(1, running.length * few) || timer !== undefined) continue;
      const tookMs = performance.now() - startedAt;
      timer = setTimeout(
        () => {
          impatient = true;
          wake();
        },
        Math.max(minPatienceMs, tookMs),
      );
    }
  } finally {
    clearTimeout(timer);
  }
}
