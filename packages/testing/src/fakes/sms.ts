import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import type { EffectLog } from './effect-log.ts';
import { httpFake } from './http-fake.ts';
import type { FakeRequest, Reply, RequestHead } from './http-fake.ts';
import type { Action, Facts } from './rules.ts';

/** The account that requests must name and sign in with. */
export type SmsAccount = { accountSid: string; authToken: string };

/**
 * Twilio's Messages resource: create, fetch and list (by To and From, newest first).
 *
 * Effects: sms `{sid, from, body, segments}`; the key is the number. Scripted codes: 21610 (opted out), 21211
 * (not a number), 21614 (no mobile), 20429 (too many requests), 30007 (filtered), 20500; or a status alone. What is sent to
 * a number that ends in 0404 is taken and stays undelivered.
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
    if (!/^(whatsapp:)?\+[1-9]\d{6,14}$/.test(to)) return refuse({ code: '21211' });
    if (content === '') return refuse({ code: '21602' });
    if (content.length > 1600) return refuse({ code: '21617' });
    const created = { sid: `SM${randomBytes(16).toString('hex')}`, account_sid: account.accountSid, to, from, body: content };
    const message = { ...created, status: 'queued', error_code: null, error_message: null, date_created: new Date().toUTCString() };
    messages.set(created.sid, { ...message, status: to.endsWith('0404') ? 'undelivered' : 'delivered' });
    log.append('sms', 'sms', to, { sid: created.sid, from, body: content });
    return json(201, { ...message, uri: `/2010-04-01/Accounts/${account.accountSid}/Messages/${created.sid}.json` });
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
  '30007': { status: 400, message: 'Message filtered' },
};

function refuse({ status, code, body }: Action): Reply {
  if (body?.startsWith('{') || body?.startsWith('<')) return { status: status ?? 500, body };
  const known = code ?? Object.keys(ERRORS).find((name) => ERRORS[name]?.status === status) ?? '20500';
  const { status: usual, message } = ERRORS[known] ?? { status: 400, message: 'Error' };
  const answered = status ?? usual;
  return json(answered, { code: Number(known), message: body ?? message, more_info: `https://www.twilio.com/docs/errors/${known}`, status: answered });
}

const json = (status: number, value: unknown): Reply => ({ status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });
