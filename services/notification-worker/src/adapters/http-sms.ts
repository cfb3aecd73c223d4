import type { Delivery, SmsList, SmsSender, WhatsAppSender } from '@backhaul/jobs/notification';
import { retryAfterMs } from '@backhaul/runtime';
import { type Answer, requestOnce } from './request-once.ts';
import { readSmsList } from './sms-list.ts';

/** How text messages reach a provider that speaks Twilio's API. */
export interface HttpSmsOptions {
  /** Origin, optionally with a path below which the API lies. */
  readonly baseUrl: string;
  /** Account SID, also the user of basic authentication. */
  readonly accountSid: string;
  readonly secret: string;
  /** The sender, in E.164. */
  readonly from: string;
  /** Where the ops API takes the provider's reports; it reports nothing without it. */
  readonly reportUrl?: string | undefined;
}

const FORM = 'application/x-www-form-urlencoded';

/** Messages to one number that are searched for a lost one, newest first. */
const PAGE_SIZE = 50;

/** Twilio's error codes that speak about the recipient: https://www.twilio.com/docs/api/errors */
const RECIPIENT_CODES = new Map<number, string>([
  [21211, 'invalid_phone_number'],
  [21214, 'invalid_phone_number'],
  [21217, 'invalid_phone_number'],
  [21265, 'invalid_phone_number'],
  [21408, 'region_not_permitted'],
  [21610, 'opted_out'],
  [21612, 'unreachable_from_sender'],
  [21614, 'not_a_mobile_number'],
  [63003, 'not_in_whatsapp'],
  [63016, 'outside_whatsapp_window'],
  [63024, 'not_in_whatsapp'],
]);

/**
 * Sends text messages by one POST each, on a connection of its own.
 *
 * POST Messages is not idempotent and has no idempotency key, so what matters
 * is to know whether the request may have arrived.
 */
export function createHttpSms(options: HttpSmsOptions): SmsSender {
  const messages = messagesOf(options);
  return {
    send: ({ to, body, reference }, signal) => messages.create({ To: to, From: options.from, Body: body }, reference, signal),
    async list(message, claimedAt, signal): Promise<SmsList> {
      const page = new URL(messages.url);
      page.search = new URLSearchParams({ To: message.to, From: options.from, PageSize: String(PAGE_SIZE) }).toString();
      const answer = await requestOnce(page, { method: 'GET', headers: { authorization: messages.authorization } }, signal);
      if ('lost' in answer) return { outcome: 'unreadable', detail: answer.lost.detail };
      if (answer.status !== 200) return { outcome: 'unreadable', detail: `the provider answered ${answer.status} when it was asked for messages` };
      return readSmsList(answer.text, { message, claimedAt, pageSize: PAGE_SIZE });
    },
  };
}

/** Sends WhatsApp templates in the same way: the number is WhatsApp's when `whatsapp:` stands before it. */
export function createHttpWhatsApp(options: HttpSmsOptions): WhatsAppSender {
  const messages = messagesOf(options);
  return {
    send({ to, contentSid, variables, reference }, signal) {
      const template = { ContentSid: contentSid, ContentVariables: JSON.stringify(variables) };
      return messages.create({ To: `whatsapp:${to}`, From: `whatsapp:${options.from}`, ...template }, reference, signal);
    },
  };
}

/** The account's messages, and how one is made. */
function messagesOf({ baseUrl, accountSid, secret, reportUrl }: HttpSmsOptions) {
  const url = new URL(`${baseUrl.replace(/\/+$/, '')}/2010-04-01/Accounts/${encodeURIComponent(accountSid)}/Messages.json`);
  const authorization = `Basic ${Buffer.from(`${accountSid}:${secret}`).toString('base64')}`;
  return {
    url,
    authorization,
    async create(fields: Readonly<Record<string, string>>, reference: string, signal: AbortSignal): Promise<Delivery> {
      const callback = reportUrl === undefined ? {} : { StatusCallback: `${reportUrl}?send=${reference}` };
      const body = new URLSearchParams({ ...fields, ...callback }).toString();
      const answer = await requestOnce(url, { method: 'POST', headers: { authorization, 'content-type': FORM }, body }, signal);
      return 'lost' in answer ? answer.lost : classify(answer);
    },
  };
}

function classify({ status, retryAfter, text }: Answer): Delivery {
  const { sid, code, message } = parse(text);
  const detail = `the provider answered ${status}${code === undefined ? '' : ` (${code})`}${message === undefined ? '' : `: ${message}`}`;
  if (status >= 200 && status < 300) {
    // 2xx means accepted, even if the body cannot be read: sending again would be the dearer error.
    return { outcome: 'sent', providerId: sid ?? null };
  }
  if (status === 429) return { outcome: 'deferred', code: 'rate_limited', detail, ...retryAfterMs(retryAfter) };
  // 21609, an address for reports that it does not accept, is ours to mend as well.
  if (status === 401 || status === 403 || code === 20003 || code === 21609) return { outcome: 'unauthorized', detail };
  const recipient = code === undefined ? undefined : RECIPIENT_CODES.get(code);
  if (recipient !== undefined) return { outcome: 'refused', about: 'recipient', code: recipient, detail };
  // Account not found: the operator's SID or base URL, not this message.
  if (status === 404) return { outcome: 'unauthorized', detail };
  if (status >= 400 && status < 500) return { outcome: 'refused', about: 'message', code: 'invalid_message', detail };
  // Twilio 20500: the message may have been sent although the answer is an error.
  return { outcome: 'ambiguous', detail };
}

function parse(text: string): { sid?: string; code?: number; message?: string } {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body !== 'object' || body === null) return {};
    const { sid, code, message } = body as Record<string, unknown>;
    return {
      ...(typeof sid === 'string' ? { sid } : {}),
      ...(typeof code === 'number' ? { code } : {}),
      ...(typeof message === 'string' ? { message: message.slice(0, 300) } : {}),
    };
  } catch {
    return {};
  }
}
