import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import type { EffectLog } from './effect-log.ts';
import { httpFake } from './http-fake.ts';
import type { FakeRequest, Reply, RequestHead } from './http-fake.ts';
import type { Action, Facts } from './rules.ts';
import { reportStatus } from './sms-reports.ts';

/** The account that requests must name and sign in with. */
export type SmsAccount = { accountSid: string; authToken: string };

/**
 * Twilio's Messages resource: create, fetch and list (by To and From, newest first).
 *
 * Effects: sms `{sid, from, body, statusCallback}` with the number as its key, for WhatsApp templates `whatsapp:` before it
 * and `{contentSid, contentVariables}`; report `{sid, status, answered}`, one for each status that a StatusCallback was told.
 * Scripted codes: 21610 (opted out), 21211 (not a number), 21614 (no mobile), 20429 (too many requests), 30007 (filtered),
 * 63003 and 63024 (nobody in WhatsApp), 63016 (outside of the window), 20500; or a status alone. What is sent to a number
 * that ends in 0404 is taken and stays undelivered, with 30003, or 63024 in WhatsApp.
 */
export function smsFake({ log, account }: { log: EffectLog; account: SmsAccount }): ReturnType<typeof httpFake> {
  const messages = new Map<string, Record<string, unknown>>();
  const authorization = `Basic ${Buffer.from(`${account.accountSid}:${account.authToken}`).toString('base64')}`;

  async function handle({ facts, headers, body, url }: FakeRequest): Promise<Reply> {
    const { operation, sid = '' } = facts;
    if (operation === 'unknown' || facts['account'] !== account.accountSid) return refuse({ status: 404 });
    if (headers.authorization !== authorization) return refuse({ status: 401 });
    if (operation === 'fetch') {
      const message = messages.get(sid);
      return message ? json(200, message) : refuse({ status: 404 });
    }
    if (operation === 'list') {
      const { To, From, PageSize = '50' } = Object.fromEntries(url.searchParams);
      const found = [...messages.values()].filter(({ to, from }) => (To === undefined || to === To) && (From === undefined || from === From));
      return json(200, { messages: found.toReversed().slice(0, Number(PageSize)), page: 0, page_size: Number(PageSize) });
    }
    const form = new URLSearchParams(await text(body));
    const [to, from, content] = [form.get('To') ?? '', form.get('From') ?? '', form.get('Body') ?? ''];
    const [contentSid, contentVariables, statusCallback] = [form.get('ContentSid'), form.get('ContentVariables'), form.get('StatusCallback')];
    if (!/^(whatsapp:)?\+[1-9]\d{6,14}$/.test(to)) return refuse({ code: '21211' });
    if (to.startsWith('whatsapp:') !== from.startsWith('whatsapp:')) return refuse({ code: '21910' });
    if (content === '' && contentSid === null) return refuse({ code: '21602' });
    // Without a template only somebody who wrote within the last day may be written to.
    if (to.startsWith('whatsapp:') && contentSid === null) return refuse({ code: '63016' });
    if (content.length > 1600) return refuse({ code: '21617' });
    const created = { sid: `SM${randomBytes(16).toString('hex')}`, account_sid: account.accountSid, to, from, body: content };
    const message = { ...created, status: 'queued', error_code: null, error_message: null, date_created: new Date().toUTCString() };
    const ends = to.endsWith('0404')
      ? { status: 'undelivered', error_code: to.startsWith('whatsapp:') ? 63_024 : 30_003 }
      : { status: 'delivered', error_code: null };
    messages.set(created.sid, { ...message, ...ends });
    log.append('sms', 'sms', to, { sid: created.sid, from, body: content, contentSid, contentVariables, statusCallback });
    if (statusCallback !== null) void report(statusCallback, { sid: created.sid, to, from }, ends);
    return json(201, { ...message, uri: `/2010-04-01/Accounts/${account.accountSid}/Messages/${created.sid}.json` });
  }

  /** Goes on by itself, so that a report may come before the answer, as it does in reality. */
  async function report(
    address: string,
    message: { sid: string; to: string; from: string },
    ends: { status: string; error_code: number | null },
  ): Promise<void> {
    for (const [status, error] of [
      ['sent', null],
      [ends.status, ends.error_code],
    ] as const) {
      const fields = {
        AccountSid: account.accountSid,
        MessageSid: message.sid,
        SmsSid: message.sid,
        MessageStatus: status,
        SmsStatus: status,
        To: message.to,
        From: message.from,
      };
      const answered = await reportStatus(address, account.authToken, { ...fields, ...(error === null ? {} : { ErrorCode: String(error) }) });
      log.append('sms', 'report', message.to, { sid: message.sid, status, answered });
    }
  }

  return httpFake({ service: 'sms', log, wholeBody: true, describe, keyOf: ({ to = '' }) => to, refuse, handle });
}

function describe({ method, path, url }: RequestHead, body: Buffer): Facts {
  const match = /^\/2010-04-01\/Accounts\/([^/]+)\/Messages(?:\/([^/]+))?\.json$/.exec(path);
  const [, account = '', sid] = match ?? [];
  if (match && method === 'GET' && sid !== undefined) return { operation: 'fetch', account, sid };
  if (match && method === 'GET') return { operation: 'list', account, to: url.searchParams.get('To') ?? '' };
  if (!match || method !== 'POST' || sid !== undefined) return { operation: 'unknown' };
  const form = new URLSearchParams(body.toString());
  return { operation: 'create', account, to: form.get('To') ?? '', from: form.get('From') ?? '' };
}

/** Twilio's error dictionary, as far as the fake needs it. */
const ERRORS: Record<string, { status: number; message: string }> = {
  '20003': { status: 401, message: 'Authenticate' },
  '20404': { status: 404, message: 'The requested resource was not found' },
  '20429': { status: 429, message: 'Too Many Requests' },
  '20500': { status: 500, message: 'Internal Server Error' },
  '21211': { status: 400, message: "The 'To' number is not a valid phone number." },
  '21602': { status: 400, message: 'Message body is required.' },
  '21610': { status: 400, message: 'Attempt to send to unsubscribed recipient' },
  '21614': { status: 400, message: "'To' number is not a valid mobile number" },
  '21617': { status: 400, message: 'The concatenated message body exceeds the 1600 character limit.' },
  '21910': { status: 400, message: "Invalid 'From' and 'To' pair. 'From' and 'To' should be of the same channel" },
  '30007': { status: 400, message: 'Message filtered' },
  '63003': { status: 400, message: 'Channel could not find To address' },
  '63016': { status: 400, message: 'Failed to send freeform message because you are outside the allowed window' },
  '63024': { status: 400, message: 'Invalid message recipient' },
};

function refuse({ status, code, body }: Action): Reply {
  if (body?.startsWith('{') || body?.startsWith('<')) return { status: status ?? 500, body };
  const known = code ?? Object.keys(ERRORS).find((name) => ERRORS[name]?.status === status) ?? '20500';
  const { status: usual, message } = ERRORS[known] ?? { status: 400, message: 'Error' };
  const answered = status ?? usual;
  return json(answered, { code: Number(known), message: body ?? message, more_info: `https://www.twilio.com/docs/errors/${known}`, status: answered });
}

const json = (status: number, value: unknown): Reply => ({ status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });
