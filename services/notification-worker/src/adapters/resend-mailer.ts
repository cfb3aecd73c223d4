import { type Delivery, type MailMessage, type Mailer, parseAddress } from '@backhaul/jobs/notification';
import { retryAfterMs } from '@backhaul/runtime';
import { z } from 'zod';
import { type Answer, requestOnce } from './request-once.ts';

/** How mail reaches Resend, or another server that speaks its API. */
export interface ResendOptions {
  /** Origin, optionally with a path below which the API lies. */
  readonly baseUrl: string;
  readonly apiKey: string;
  /** The sender; its domain is one that the account may send for. */
  readonly from: { readonly name: string; readonly address: string };
}

const answerSchema = z.object({ id: z.string().optional(), name: z.string().optional(), message: z.string().optional() });

/** The quota of a day: asking every minute would change nothing, and another provider may have room. */
const QUOTA_DELAY_MS = 3_600_000;
/** The request before this one is still under way there. */
const CONCURRENT_DELAY_MS = 5_000;

/**
 * Mails through Resend's `POST /emails`, one request each.
 *
 * The idempotency key is the send's, the same on every try: within 24 hours
 * Resend answers a request that it knows with the answer of the first, and
 * sends nothing. So the resend that follows a lost answer makes no copy.
 */
export function createResendMailer(options: ResendOptions): Mailer {
  const url = new URL(`${options.baseUrl.replace(/\/+$/, '')}/emails`);
  return {
    async send(message, signal) {
      if (parseAddress(message.to) !== message.to)
        return { outcome: 'refused', about: 'recipient', code: 'invalid_address', detail: 'the recipient is not one plain mail address' };
      const headers = {
        authorization: `Bearer ${options.apiKey}`,
        'content-type': 'application/json',
        'idempotency-key': message.messageIdLeft,
        'user-agent': 'backhaul',
      };
      const answer = await requestOnce(url, { method: 'POST', headers, body: JSON.stringify(compose(message, options.from)) }, signal);
      return 'lost' in answer ? answer.lost : classify(answer);
    },
  };
}

/** From a fixed set of plain strings: the same fields on every try, or Resend would see another request under the same key. */
function compose({ to, subject, text, html, fromName, messageIdLeft }: MailMessage, from: ResendOptions['from']) {
  const name = oneLine(fromName ?? from.name);
  return {
    from: name === '' ? from.address : `"${name.replaceAll(/["\\]/g, String.raw`\$&`)}" <${from.address}>`,
    to: [to],
    subject: oneLine(subject),
    text,
    html,
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Entity-Ref-ID': messageIdLeft },
  };
}

function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
}

/**
 * What an answer means; the names are Resend's: https://resend.com/docs/api-reference/errors
 *
 * | answer | outcome |
 * |---|---|
 * | 2xx | sent |
 * | 401, 403, 404, 405 | unauthorized: the key, the domain or the address of the API; an operator must act |
 * | 429 `daily_quota_exceeded`, `monthly_quota_exceeded` | deferred, about the provider: another may be asked |
 * | 429 otherwise | deferred as Retry-After says |
 * | 409 `concurrent_idempotent_requests` | deferred a moment: the earlier request is under way |
 * | 409 `invalid_idempotent_request` | ambiguous: another text went out under this key, or is about to |
 * | other 4xx | refused |
 * | 503 | unavailable: it did not begin |
 * | other 5xx | ambiguous: it may have been sent although the answer is an error |
 */
function classify({ status, retryAfter, text }: Answer): Delivery {
  const { id, name, message } = parse(text);
  const detail = `the provider answered ${status}${name === undefined ? '' : ` (${name})`}${message === undefined ? '' : `: ${message.slice(0, 300)}`}`;
  if (status >= 200 && status < 300) return { outcome: 'sent', providerId: id ?? null };
  switch (status) {
    case 401:
    case 403:
    case 404:
    case 405:
      return { outcome: 'unauthorized', detail };
    case 409:
      return name === 'concurrent_idempotent_requests'
        ? { outcome: 'deferred', code: 'concurrent_send', detail, retryAfterMs: CONCURRENT_DELAY_MS }
        : { outcome: 'ambiguous', detail };
    case 429:
      return name !== undefined && name.endsWith('_quota_exceeded')
        ? { outcome: 'deferred', about: 'provider', code: 'quota_exceeded', detail, retryAfterMs: QUOTA_DELAY_MS }
        : { outcome: 'deferred', code: 'rate_limited', detail, ...retryAfterMs(retryAfter) };
    case 503:
      return { outcome: 'unavailable', detail };
    default:
      return status >= 400 && status < 500 ? { outcome: 'refused', about: 'message', code: 'mail_refused', detail } : { outcome: 'ambiguous', detail };
  }
}

function parse(text: string): z.output<typeof answerSchema> {
  try {
    return answerSchema.safeParse(JSON.parse(text)).data ?? {};
  } catch {
    return {};
  }
}
