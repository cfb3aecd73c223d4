/** A message that waits to be announced with others. `about` is what the policy needs to ask about it again. */
export interface Gathered<About> {
  readonly id: string;
  readonly at: number;
  readonly about: About;
}

/** What is known of a chat, for one reader: when a message came or was announced last, and what is gathered. */
export interface Gathering<About> {
  readonly lastAt: number;
  readonly pending: readonly Gathered<About>[];
}

/** How messages are gathered. */
export interface CoalesceSettings {
  /** A chat in which nothing came for this long is quiet: what is gathered is announced, and the next message at once. */
  readonly quietMs: number;
  /** No message waits longer. */
  readonly maxWaitMs: number;
}

/** What becomes of a message now. */
export type CoalesceAnswer<About> =
  /** It is announced by itself. */
  | { readonly as: 'alone' }
  /** Others may come: ask again after this. */
  | { readonly as: 'gathered'; readonly waitMs: number }
  /** The time has come to announce these, itself among them: `close` says how. */
  | { readonly as: 'due'; readonly pending: readonly Gathered<About>[] };

/** A state never grows beyond this, nor does the number in a summary. */
const maxGathered = 100;

/**
 * Asks about a message whose end is not known yet. The first of a quiet chat
 * is announced at once; those that follow are gathered until the chat is quiet
 * again, the oldest has waited for `maxWaitMs`, or there are a hundred.
 */
export function offer<About>(
  before: Gathering<About> | undefined,
  message: Omit<Gathered<About>, 'at'>,
  { quietMs, maxWaitMs }: CoalesceSettings,
  now: number,
): { readonly state: Gathering<About>; readonly answer: CoalesceAnswer<About> } {
  let state = before ?? { lastAt: -Infinity, pending: [] };
  if (!state.pending.some(({ id }) => id === message.id)) {
    if (state.pending.length === 0 && now >= state.lastAt + quietMs) return { state: { lastAt: now, pending: [] }, answer: { as: 'alone' } };
    state = { lastAt: now, pending: [...state.pending, { ...message, at: now }] };
  }
  const { lastAt, pending } = state;
  const oldestAt = pending.reduce((oldest, { at }) => Math.min(oldest, at), Infinity);
  const dueAt = pending.length >= maxGathered ? now : Math.min(lastAt + quietMs, oldestAt + maxWaitMs);
  return now < dueAt ? { state, answer: { as: 'gathered', waitMs: dueAt - now } } : { state, answer: { as: 'due', pending } };
}

/**
 * Announces what is gathered with the message `id`. `voided` are those that
 * nobody needs to be told of any more: they are in no summary. One that is left
 * over is announced by itself. `announced` has `id`, and those that are counted with it.
 */
export function close<About>(
  { pending }: Gathering<About>,
  id: string,
  voided: ReadonlySet<string>,
  now: number,
): { readonly state: Gathering<About>; readonly announced: readonly string[] } {
  const others = pending.map((each) => each.id).filter((each) => each !== id && !voided.has(each));
  return { state: { lastAt: now, pending: [] }, announced: [id, ...others] };
}
