/** Bounds the pixels that are being decoded at any time, whoever decodes them. */
export interface PixelBudget {
  /**
   * Waits for room and takes it until disposal. First come, first served, so
   * that a large picture is not passed for ever by small ones; one that is
   * larger than the whole budget gets all of it, and so runs alone.
   * @throws the signal's reason, when that aborts first; nothing is taken then
   */
  take(pixels: number, signal: AbortSignal): Promise<Disposable>;
}

interface Waiter {
  readonly pixels: number;
  enter(): void;
}

/** A budget of so many pixels, all of them free. */
export function createPixelBudget(size: number): PixelBudget {
  const queue = new Set<Waiter>();
  let free = size;

  function hold(pixels: number): Disposable {
    free -= pixels;
    let held = true;
    return {
      [Symbol.dispose]() {
        // Given back twice, it would let in more than there is room for.
        if (!held) return;
        held = false;
        free += pixels;
        admit();
      },
    };
  }

  function admit(): void {
    for (const waiter of queue) {
      if (waiter.pixels > free) return;
      queue.delete(waiter);
      waiter.enter();
    }
  }

  return {
    async take(wanted, signal) {
      signal.throwIfAborted();
      const pixels = Math.min(wanted, size);
      if (queue.size === 0 && pixels <= free) return hold(pixels);
      return new Promise((resolve, reject) => {
        const waiter: Waiter = {
          pixels,
          enter() {
            signal.removeEventListener('abort', leave);
            resolve(hold(pixels));
          },
        };
        const leave = () => {
          queue.delete(waiter);
          // The next one may have waited only for this one's turn.
          admit();
          reject(signal.reason as Error);
        };
        queue.add(waiter);
        signal.addEventListener('abort', leave, { once: true });
      });
    },
  };
}
