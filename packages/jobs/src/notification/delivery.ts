/**
 * What a provider said about one message; a closed list, so that every answer
 * has a decision. Adapters resolve with one of these and do not throw: only
 * they can tell whether anything may have reached the provider.
 */
export type Delivery =
  /** Accepted. `providerId` is what the provider calls the message. */
  | { readonly outcome: 'sent'; readonly providerId: string | null }
  /**
   * Will never be accepted: this recipient (gone, opted out, not an address) or this message (too large, malformed).
   * `bounce`: the mail address takes no mail at all, with the provider's code for it.
   */
  | { readonly outcome: 'refused'; readonly about: 'recipient' | 'message'; readonly code: string; readonly detail: string; readonly bounce?: string }
  /**
   * Not now, and nothing was sent: a rate limit, greylisting, a full mailbox. `retryAfterMs` is the provider's wish.
   * `about: 'provider'`: it takes nothing from us now, so another one may be asked.
   */
  | { readonly outcome: 'deferred'; readonly code: string; readonly detail: string; readonly retryAfterMs?: number; readonly about?: 'provider' }
  /** The provider could not be reached or answered that it cannot work; nothing was sent. */
  | { readonly outcome: 'unavailable'; readonly detail: string }
  /** Our credentials were refused; nothing was sent. An operator must act. `about: 'platform'`: only those for the devices of one platform. */
  | { readonly outcome: 'unauthorized'; readonly detail: string; readonly about?: 'platform' }
  /** This process has no settings for the channel; nothing was sent. An operator must act. */
  | { readonly outcome: 'unconfigured'; readonly detail: string }
  /** The connection was lost or the time ran out after the message went out: it may or may not have been sent. */
  | { readonly outcome: 'ambiguous'; readonly detail: string };
