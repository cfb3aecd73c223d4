/** One notification that counts towards a cap. */
export interface Taken {
  readonly id: string;
  readonly at: number;
}

/** How many within how long. */
export interface Cap {
  readonly limit: number;
  readonly windowMs: number;
}

/**
 * Counts a notification unless there were `limit` within the window that ends
 * now. One that was counted stays allowed, so that its later tries cost
 * nothing. Otherwise `until` is when the oldest of them leaves the window.
 */
export function take(
  taken: readonly Taken[],
  id: string,
  { limit, windowMs }: Cap,
  now: number,
): { readonly taken: readonly Taken[]; readonly until?: number } {
  const kept = taken.filter(({ at }) => at > now - windowMs);
  if (kept.some((each) => each.id === id)) return { taken: kept };
  if (kept.length < limit) return { taken: [...kept, { id, at: now }] };
  const oldest = kept.reduce((first, { at }) => Math.min(first, at), Infinity);
  return { taken: kept, until: oldest + windowMs };
}
