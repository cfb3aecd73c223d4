import type { Delivery } from '@backhaul/jobs/notification';
import { retryAfterMs } from '@backhaul/runtime';
import type { Sighting } from './fcm-agent.ts';

/**
 * What an error of firebase-admin means, together with what was seen on the wire.
 * The codes are FCM's: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
 */
export function classify(error: unknown, sighting: Sighting): Delivery {
  const { code, message } = describe(error);
  const said = serverCode(error);
  switch (code) {
    case 'messaging/registration-token-not-registered':
    case 'messaging/invalid-registration-token':
    case 'messaging/installation-id-not-registered':
      return refused('recipient', 'unregistered', message);
    case 'messaging/mismatched-credential':
      // The library gives one name to two things: a token of another project, and a service account without the permission.
      return said === 'SENDER_ID_MISMATCH' ? refused('recipient', 'sender_id_mismatch', message) : { outcome: 'unauthorized', detail: message };
    case 'messaging/third-party-auth-error':
      // The library says the same of an access token that was refused.
      return { outcome: 'unauthorized', detail: message, ...(said === 'THIRD_PARTY_AUTH_ERROR' ? { about: 'platform' } : {}) };
    case 'messaging/authentication-error':
    case 'app/invalid-credential':
      return sighting.written || isRefusedCredential(message) ? { outcome: 'unauthorized', detail: message } : { outcome: 'unavailable', detail: message };
    case 'messaging/device-message-rate-exceeded':
      return deferred(sighting, message, 'device_rate_limited');
    case 'messaging/message-rate-exceeded':
    case 'messaging/topics-message-rate-exceeded':
      return deferred(sighting, message, isDeviceQuota(error) ? 'device_rate_limited' : 'rate_limited');
    case 'messaging/server-unavailable':
    case 'messaging/internal-error':
      return unavailable(sighting, message);
    case 'app/network-error':
    case 'app/network-timeout':
      return sighting.status === 503 ? unavailable(sighting, 'FCM answered 503') : lost(sighting, message);
    case 'messaging/payload-size-limit-exceeded':
      return refused('message', 'payload_too_large', message);
    default:
      if (code?.startsWith('messaging/invalid-') === true)
        return isAboutToken(error, message) ? refused('recipient', 'invalid_token', message) : refused('message', 'invalid_payload', message);
  }
  switch (sighting.status) {
    case 401:
    case 403:
      return { outcome: 'unauthorized', detail: message };
    case 404:
      // Not a token's 404, which says UNREGISTERED: the project or the path does not exist.
      return { outcome: 'unauthorized', detail: message };
    case 429:
      return deferred(sighting, message, 'rate_limited');
    case undefined:
      // No answer at all: a failed token request before it, or a lost connection.
      if (isRefusedCredential(message)) return { outcome: 'unauthorized', detail: message };
      return lost(sighting, message);
    default:
      if (sighting.status >= 500) return unavailable(sighting, message);
      return sighting.status >= 200 && sighting.status < 300 ? lost(sighting, message) : refused('message', 'refused', message);
  }
}

/** No answer: ambiguous if the request may have gone out. */
export function lost(sighting: Sighting, detail: string): Delivery {
  return sighting.written ? { outcome: 'ambiguous', detail } : { outcome: 'unavailable', detail };
}

function refused(about: 'recipient' | 'message', code: string, detail: string): Delivery {
  return { outcome: 'refused', about, code, detail };
}

function deferred(sighting: Sighting, detail: string, code: string): Delivery {
  return { outcome: 'deferred', code, detail, ...retryAfterMs(sighting.retryAfter) };
}

/** FCM cannot work now. With a time to come back it is a deferral, which costs no try. */
export function unavailable(sighting: Sighting, detail: string): Delivery {
  const wish = retryAfterMs(sighting.retryAfter);
  return wish.retryAfterMs === undefined ? { outcome: 'unavailable', detail } : { outcome: 'deferred', code: 'provider_busy', detail, ...wish };
}

/** Google's token endpoint says no to the service account, rather than not answering. */
function isRefusedCredential(message: string): boolean {
  return /invalid_grant|invalid_client|unauthorized_client|access_denied|Invalid JWT/i.test(message);
}

/** One device that gets too much is no reason to stop all others. FCM says QUOTA_EXCEEDED of both, and in a QuotaFailure which quota it was. */
function isDeviceQuota(error: unknown): boolean {
  const details = field(field(responseData(error), 'error'), 'details');
  const violations = Array.isArray(details) ? details.flatMap((detail) => field(detail, 'violations') ?? []) : [];
  return (
    violations.length > 0 &&
    violations.every((violation) => /device/i.test(`${String(field(violation, 'subject'))} ${String(field(violation, 'description'))}`))
  );
}

/** INVALID_ARGUMENT is said of a malformed token and of a malformed message alike; the violated field or the text tells them apart. */
function isAboutToken(error: unknown, message: string): boolean {
  const details = field(field(responseData(error), 'error'), 'details');
  const violations = Array.isArray(details) ? details.flatMap((detail) => field(detail, 'fieldViolations') ?? []) : [];
  return violations.some((violation) => field(violation, 'field') === 'message.token') || /registration token/i.test(message);
}

/** FCM's own word, which the library translates with loss. */
function serverCode(error: unknown): unknown {
  const body = field(responseData(error), 'error');
  const details = field(body, 'details');
  const own = Array.isArray(details) ? details.map((detail) => field(detail, 'errorCode')).find((value) => value !== undefined) : undefined;
  return own ?? field(body, 'status');
}

function responseData(error: unknown): unknown {
  return field(field(error, 'httpResponse'), 'data');
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function describe(error: unknown): { code: string | undefined; message: string } {
  const code = field(error, 'code');
  return { code: typeof code === 'string' ? code : undefined, message: (error instanceof Error ? error.message : String(error)).slice(0, 500) };
}
