import type { Delivery } from '@backhaul/jobs/notification';

/** The fields of a nodemailer error that decisions rest on. */
interface SmtpError {
  readonly code?: string;
  readonly command?: string;
  readonly response?: string;
  readonly responseCode?: number;
  readonly permanent?: boolean;
}

/** Greylisting lets the same message in after some minutes; asking earlier only makes it longer. Others that say "later" mean no less. */
const DEFAULT_DELAY_MS = 300_000;
/** A full mailbox is emptied by a person. */
const MAILBOX_DELAY_MS = 1_800_000;

/**
 * Enhanced status codes (RFC 3463) that say that this address takes no mail:
 * no such mailbox, no such domain, no address, moved away, a domain that takes
 * no mail (RFC 7505), switched off. Not 5.1.7 and 5.1.8, which speak of the
 * sender, nor 5.2.2: a full mailbox is one.
 */
const HARD_BOUNCES = new Set(['5.1.1', '5.1.2', '5.1.3', '5.1.6', '5.1.10', '5.2.1']);

/**
 * What an error of a send over SMTP means.
 *
 * | the relay says | outcome |
 * |---|---|
 * | nothing: no connection, no greeting, lost before the body was read | unavailable |
 * | nothing, after the body was read | ambiguous |
 * | it cannot encrypt | unavailable |
 * | 530, 535, or 5xx before MAIL | unauthorized: it refuses us, not this mail |
 * | 421, 4xx before MAIL, 4.3.x | deferred, about the relay: another may be asked |
 * | 450 or 451 with 4.7.x, or a word of greylisting | deferred `greylisted`, 5 min |
 * | 4.2.x | deferred `mailbox_busy`, 30 min |
 * | any other 4xx | deferred `mail_deferred`, 5 min |
 * | 5xx with a code of HARD_BOUNCES, to RCPT or the message | refused, the address bounces |
 * | another 5xx to RCPT | refused `mailbox_refused` |
 * | another 5xx (552 too large, 554, 5.7.x policy) | refused `mail_refused` |
 *
 * @param bodyRead whether any of the message was read for sending, that is, whether DATA was accepted
 */
export function classify(error: unknown, bodyRead: boolean): Delivery {
  const { code, command, response = '', responseCode, permanent } = error as SmtpError;
  const detail = (error instanceof Error ? error.message : String(error)).slice(0, 500);
  // A relay that cannot encrypt has refused the connection, not this mail, whatever its code.
  if (code === 'ETLS' || command === 'STARTTLS') return { outcome: 'unavailable', detail };
  if (responseCode !== undefined) {
    // The relay has spoken; whatever it says but 2xx means that it did not take the message.
    const said = { responseCode, command, enhanced: /^\d{3}[ -](\d\.\d{1,3}\.\d{1,3})\b/.exec(response)?.[1], text: response };
    const isSignIn = code === 'EAUTH' || responseCode === 530 || responseCode === 535;
    if (responseCode < 500 && (permanent !== true || isSignIn)) return later(said, isSignIn, detail);
    if (isSignIn || isBeforeMail(command)) return { outcome: 'unauthorized', detail };
    return refusal(said, detail);
  }
  if (bodyRead) return { outcome: 'ambiguous', detail };
  switch (code) {
    case 'EAUTH':
    case 'ENOAUTH':
      return { outcome: 'unauthorized', detail };
    case 'EENVELOPE':
      return { outcome: 'refused', about: 'recipient', code: 'invalid_address', detail };
    case 'EMESSAGE':
      return { outcome: 'refused', about: 'message', code: 'mail_too_large', detail };
    default:
      return { outcome: 'unavailable', detail };
  }
}

interface Said {
  readonly responseCode: number;
  readonly command: string | undefined;
  /** `5.1.1`, if the relay gives such codes. */
  readonly enhanced: string | undefined;
  readonly text: string;
}

function later({ responseCode, command, enhanced, text }: Said, isSignIn: boolean, detail: string): Delivery {
  if (responseCode === 421 || isSignIn || isBeforeMail(command) || enhanced?.startsWith('4.3.') === true)
    return { outcome: 'deferred', about: 'provider', code: 'relay_busy', detail, retryAfterMs: DEFAULT_DELAY_MS };
  if ((responseCode === 450 || responseCode === 451) && (enhanced?.startsWith('4.7.') === true || /gr[ae]y-?list/i.test(text)))
    return { outcome: 'deferred', code: 'greylisted', detail, retryAfterMs: DEFAULT_DELAY_MS };
  if (enhanced?.startsWith('4.2.') === true) return { outcome: 'deferred', code: 'mailbox_busy', detail, retryAfterMs: MAILBOX_DELAY_MS };
  return { outcome: 'deferred', code: 'mail_deferred', detail, retryAfterMs: DEFAULT_DELAY_MS };
}

function refusal({ command, enhanced }: Said, detail: string): Delivery {
  const isAboutSender = command === 'MAIL FROM';
  if (!isAboutSender && enhanced !== undefined && HARD_BOUNCES.has(enhanced))
    return { outcome: 'refused', about: 'recipient', code: 'mailbox_refused', detail, bounce: enhanced };
  return command === 'RCPT TO'
    ? { outcome: 'refused', about: 'recipient', code: 'mailbox_refused', detail }
    : { outcome: 'refused', about: 'message', code: 'mail_refused', detail };
}

/** The greeting and what follows it: nothing was said of a mail yet. */
function isBeforeMail(command: string | undefined): boolean {
  return command === 'CONN' || command === 'EHLO' || command === 'HELO';
}
