import { createHash, randomUUID } from 'node:crypto';
import { text } from 'node:stream/consumers';
import type { EffectLog } from './effect-log.ts';
import { httpFake } from './http-fake.ts';
import type { FakeRequest, Reply, RequestHead } from './http-fake.ts';
import type { Action, Facts } from './rules.ts';

/** The key that requests must bring. */
export type ResendAccount = { apiKey: string };

/** How long Resend knows an idempotency key. */
const KEY_LIFETIME_MS = 24 * 3_600_000;

/**
 * Resend's `POST /emails`, with idempotency keys: within 24 hours the same request under the same key gets the answer of the
 * first, and sends nothing; another request under it is refused.
 *
 * Effects: mail `{id, from, to, subject, idempotencyKey, hasText, hasHtml, headers}`, filed under the recipients; a request
 * that was known has `replay` instead. Scripted codes are Resend's names: rate_limit_exceeded, daily_quota_exceeded, ..
 */
export function resendFake({ log, account, now = Date.now }: { log: EffectLog; account: ResendAccount; now?: () => number }): ReturnType<typeof httpFake> {
  const known = new Map<string, { id: string; bodyHash: string; at: number }>();

  async function handle({ facts, headers, body }: FakeRequest): Promise<Reply> {
    if (headers.authorization === undefined) return refuse({ code: 'missing_api_key' });
    if (headers.authorization !== `Bearer ${account.apiKey}`) return refuse({ code: 'invalid_api_key' });
    if (facts['operation'] !== 'send') return refuse({ code: 'not_found' });
    const content = await text(body);
    const mail = parse(content);
    const to = [mail['to'] ?? []].flat().map(String);
    if (typeof mail['from'] !== 'string' || to.length === 0 || typeof mail['subject'] !== 'string') return refuse({ code: 'missing_required_field' });
    const { idempotencyKey = '' } = facts;
    if (idempotencyKey.length > 256) return refuse({ code: 'invalid_idempotency_key' });
    const bodyHash = createHash('sha256').update(content).digest('hex');
    const earlier = idempotencyKey === '' ? undefined : known.get(idempotencyKey);
    if (earlier !== undefined && now() - earlier.at < KEY_LIFETIME_MS) {
      if (earlier.bodyHash !== bodyHash) return refuse({ code: 'invalid_idempotent_request' });
      log.append('resend', 'replay', to.join(','), { id: earlier.id, idempotencyKey });
      return json(200, { id: earlier.id });
    }
    const id = randomUUID();
    if (idempotencyKey !== '') known.set(idempotencyKey, { id, bodyHash, at: now() });
    log.append('resend', 'mail', to.join(','), {
      id,
      from: mail['from'],
      to,
      subject: mail['subject'],
      idempotencyKey,
      hasText: typeof mail['text'] === 'string',
      hasHtml: typeof mail['html'] === 'string',
      headers: mail['headers'] ?? {},
    });
    return json(200, { id });
  }

  return httpFake({ service: 'resend', log, wholeBody: true, describe, keyOf: ({ to = '' }) => to, refuse, handle });
}

function describe({ method, path, headers }: RequestHead, body: Buffer): Facts {
  const key = headers['idempotency-key'];
  const to = [parse(body.toString())['to'] ?? []].flat().map(String);
  return { operation: method === 'POST' && path === '/emails' ? 'send' : 'unknown', to: to.join(','), idempotencyKey: Array.isArray(key) ? '' : (key ?? '') };
}

function parse(content: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(content);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Resend's errors: https://resend.com/docs/api-reference/errors */
const ERRORS: Record<string, { status: number; message: string }> = {
  invalid_idempotency_key: { status: 400, message: 'The key must be between 1-256 chars.' },
  validation_error: { status: 400, message: 'We found an error with one or more fields in the request.' },
  missing_api_key: { status: 401, message: 'Missing API key in the authorization header.' },
  invalid_api_key: { status: 403, message: 'API key is invalid.' },
  not_found: { status: 404, message: 'The requested endpoint does not exist.' },
  invalid_idempotent_request: { status: 409, message: 'Same idempotency key used with a different request payload.' },
  concurrent_idempotent_requests: { status: 409, message: 'Same idempotency key used while original request is still in progress.' },
  missing_required_field: { status: 422, message: 'The request body is missing one or more required fields.' },
  daily_quota_exceeded: { status: 429, message: 'You have reached your daily email quota.' },
  rate_limit_exceeded: { status: 429, message: 'Too many requests.' },
  application_error: { status: 500, message: 'An unexpected error occurred.' },
  service_unavailable: { status: 503, message: 'The service is unavailable.' },
};

function refuse({ status, code, body }: Action): Reply {
  if (body?.startsWith('{') || body?.startsWith('<')) return { status: status ?? 500, body };
  const name = code ?? Object.keys(ERRORS).find((each) => ERRORS[each]?.status === status) ?? 'application_error';
  const { status: usual, message } = ERRORS[name] ?? { status: 400, message: 'Error' };
  const answered = status ?? usual;
  return json(answered, { statusCode: answered, name, message: body ?? message });
}

const json = (status: number, value: unknown): Reply => ({ status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });
