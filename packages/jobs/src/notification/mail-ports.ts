import type { Delivery } from './delivery.ts';

/** A mail to one recipient. All fields are plain values that were checked before. */
export interface MailMessage {
  /** One bare address, checked by `parseAddress`. */
  readonly to: string;
  /** One line. */
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** The sender's name beside the address, if it is not the usual one. One line. */
  readonly fromName?: string;
  /** Left side of the Message-ID, the same on every try: receivers and relays recognise the copy by it. */
  readonly messageIdLeft: string;
  /** The send in the ledger, where it is noted which provider got it. */
  readonly key: string;
  /** An earlier send may have been made: only the provider that got it may be asked again. */
  readonly again: boolean;
}

/** Who must not be mailed, how fast the others may be, and which provider got which mail; the shape of `MailGuard` in @backhaul/database. */
export interface MailGuard {
  isSuppressed(address: string): Promise<boolean>;
  /** Until somebody takes it back. */
  suppress(address: string, why: { reason: 'hard_bounce'; code: string }): Promise<void>;
  /** A place in the line of all workers; one that does not wait leaves at once, and the others wait longer. */
  take(messageId: string, options: { perMinute: number; waits: boolean }): Promise<{ allowed: boolean; retryAfterMs: number }>;
  /** Before the claimed send is given to a provider. False when the claim is another's by now: then it must not be made. */
  note(effectKey: string, provider: string): Promise<boolean>;
  /** Undefined: it was given to nobody. */
  noted(effectKey: string): Promise<string | undefined>;
}

/** What is decided by settings about mails. */
export interface MailPolicy {
  /** Mails that all workers send within a minute; 0 for no limit. */
  readonly perMinute: number;
}

/** Sends mail. */
export interface Mailer {
  send(message: MailMessage, signal: AbortSignal): Promise<Delivery>;
}
