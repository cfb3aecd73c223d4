import { text } from 'node:stream/consumers';
import type { EffectLog } from './effect-log.ts';
import { httpFake } from './http-fake.ts';
import type { FakeRequest, Reply, RequestHead } from './http-fake.ts';
import type { Action, Facts } from './rules.ts';

/**
 * FCM's HTTP v1 API and Google's token endpoint, over HTTPS with a certificate for both hosts.
 *
 * Effects: token `{}`, push `{messageId, project, message}`; the key is the registration token (or topic).
 * Scripted codes: UNREGISTERED, INVALID_ARGUMENT, SENDER_ID_MISMATCH, QUOTA_EXCEEDED, UNAVAILABLE, INTERNAL,
 * THIRD_PARTY_AUTH_ERROR; or a status alone.
 */
export function fcmFake({ log, tls }: { log: EffectLog; tls: { cert: string; key: string } }): ReturnType<typeof httpFake> {
  let sent = 0;

  async function handle({ facts, headers, body }: FakeRequest): Promise<Reply> {
    const { operation, project = '', token = '' } = facts;
    if (operation === 'token') {
      log.append('fcm', 'token', 'oauth');
      return json(200, { access_token: `fake-${Date.now()}`, expires_in: 3600, token_type: 'Bearer' });
    }
    if (operation !== 'send') return json(404, { error: { code: 404, message: 'Not found', status: 'NOT_FOUND' } });
    if (!headers.authorization?.startsWith('Bearer ')) return refuse({ status: 401 });
    const { message, validate_only: dryRun } = parse(await text(body));
    if (typeof message !== 'object' || message === null || token === '') return refuse({ code: 'INVALID_ARGUMENT' });
    // FCM's documented limit for the payload of a message to a device.
    if (Buffer.byteLength(JSON.stringify({ data: message.data, notification: message.notification })) > 4096) {
      return refuse({ code: 'INVALID_ARGUMENT', body: 'Message too big' });
    }
    const messageId = `projects/${project}/messages/${Date.now()}-${++sent}`;
    if (dryRun !== true) log.append('fcm', 'push', token, { messageId, project, message });
    return json(200, { name: messageId });
  }

  return httpFake({ service: 'fcm', log, tls, wholeBody: true, describe, keyOf: ({ token = '' }) => token, refuse, handle });
}

type SendRequest = { message?: Record<string, unknown>; validate_only?: boolean };

function describe({ path }: RequestHead, body: Buffer): Facts {
  const project = /^\/v1\/projects\/([^/]+)\/messages:send$/.exec(path)?.[1];
  if (project === undefined) return { operation: path.endsWith('/token') ? 'token' : 'unknown' };
  const { message = {} } = parse(body.toString());
  const target = message['token'] ?? message['topic'] ?? message['condition'] ?? '';
  return { operation: 'send', project: decodeURIComponent(project), token: typeof target === 'string' ? target : '' };
}

function parse(body: string): SendRequest {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** FcmError codes with status and google.rpc status (REST reference of FCM v1, "ErrorCode"). */
const ERRORS: Record<string, { status: number; rpc: string; message: string }> = {
  UNREGISTERED: { status: 404, rpc: 'NOT_FOUND', message: 'Requested entity was not found.' },
  INVALID_ARGUMENT: { status: 400, rpc: 'INVALID_ARGUMENT', message: 'The registration token is not a valid FCM registration token' },
  SENDER_ID_MISMATCH: { status: 403, rpc: 'PERMISSION_DENIED', message: 'SenderId mismatch' },
  QUOTA_EXCEEDED: { status: 429, rpc: 'RESOURCE_EXHAUSTED', message: 'Quota exceeded for quota metric' },
  UNAVAILABLE: { status: 503, rpc: 'UNAVAILABLE', message: 'The service is currently unavailable.' },
  INTERNAL: { status: 500, rpc: 'INTERNAL', message: 'Internal error encountered.' },
  THIRD_PARTY_AUTH_ERROR: { status: 401, rpc: 'UNAUTHENTICATED', message: 'Auth error from APNS or Web Push Service' },
};

function refuse({ status, code, body }: Action): Reply {
  if (body?.startsWith('{') || body?.startsWith('<')) return { status: status ?? 500, headers: { 'content-type': 'application/json' }, body };
  const errorCode = code ?? Object.keys(ERRORS).find((name) => ERRORS[name]?.status === status && status !== 401);
  const known = ERRORS[errorCode ?? ''];
  if (!known) {
    // 401 has no FcmError: it is Google's front door that refuses the access token.
    const rpc = status === 401 ? 'UNAUTHENTICATED' : 'UNKNOWN';
    return json(status ?? 500, { error: { code: status ?? 500, message: body ?? 'Request had invalid authentication credentials.', status: rpc } });
  }
  const details: unknown[] = [{ '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode }];
  if (errorCode === 'INVALID_ARGUMENT') {
    const fieldViolations = [{ field: 'message.token', description: body ?? known.message }];
    details.push({ '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations });
  }
  return json(status ?? known.status, { error: { code: status ?? known.status, message: body ?? known.message, status: known.rpc, details } });
}

const json = (status: number, value: unknown): Reply => ({
  status,
  headers: { 'content-type': 'application/json; charset=UTF-8' },
  body: JSON.stringify(value),
});
