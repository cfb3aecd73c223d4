/** When answers look like the provider's fault and not like devices that are gone. */
export interface GoneRateLimits {
  /** More than this share of the answers about tokens, 0 to 1, .. */
  readonly share: number;
  /** .. and at least as many. */
  readonly atLeast: number;
  /** Of this time. */
  readonly windowMs: number;
}

/** Parts that the window is counted in: a count is too old by one of them at most. */
const SLICES = 60;

/** Counts what the provider says about tokens within the time that ends now. */
export class GoneRate {
  readonly #limits: GoneRateLimits;
  readonly #sliceMs: number;
  /** By the number of the slice; old ones are left out when they are summed, and deleted when there are many. */
  readonly #slices = new Map<number, { reached: number; gone: number }>();

  constructor(limits: GoneRateLimits) {
    this.#limits = limits;
    this.#sliceMs = limits.windowMs / SLICES;
  }

  add(says: 'reached' | 'gone', nowMs: number): void {
    const number = Math.floor(nowMs / this.#sliceMs);
    let slice = this.#slices.get(number);
    if (slice === undefined) {
      slice = { reached: 0, gone: 0 };
      this.#slices.set(number, slice);
      for (const old of this.#slices.keys()) if (old <= number - SLICES) this.#slices.delete(old);
    }
    slice[says] += 1;
  }

  /** The answers within the window, and whether too many of them say "gone". */
  look(nowMs: number): { readonly gone: number; readonly answers: number; readonly tooMany: boolean } {
    const oldest = Math.floor(nowMs / this.#sliceMs) - SLICES;
    let gone = 0;
    let answers = 0;
    for (const [number, slice] of this.#slices) {
      if (number <= oldest) continue;
      gone += slice.gone;
      answers += slice.gone + slice.reached;
    }
    return { gone, answers, tooMany: gone >= this.#limits.atLeast && gone > this.#limits.share * answers };
  }
}
