import { randomUUID } from 'node:crypto';
import type { Delivery, PushMessage, PushSender } from '@backhaul/jobs/notification';
import type { Closeable } from '@backhaul/runtime';
import { type App, type Credential, deleteApp, initializeApp } from 'firebase-admin/app';
import { type Message, getMessaging } from 'firebase-admin/messaging';
import { JWT } from 'google-auth-library';
import { FcmAgent, type Redirect, type Sighting } from './fcm-agent.ts';
import { retryAfterMs } from './retry-after.ts';

/** The one permission that sending needs. */
const MESSAGING_SCOPE = 'https://www.googleapis.com/auth/firebase.messaging';

/** How pushes reach FCM. */
export interface FcmOptions {
  readonly projectId: string;
  readonly clientEmail: string;
  /** PEM. */
  readonly privateKey: string;
  /** Another server in FCM's place. */
  readonly redirect?: Redirect | undefined;
}

/**
 * Pushes through FCM's HTTP v1 API by firebase-admin, one request per send
 * over connections that stay open. Makes no request before the first send.
 */
export function createFcmPush(options: FcmOptions): PushSender & Closeable {
  const agent = new FcmAgent(options.redirect);
  const open = (): App => initializeApp({ projectId: options.projectId, credential: serviceAccount(options, agent), httpAgent: agent }, `fcm-${randomUUID()}`);
  let app = open();

  /** The library keeps an access token until it runs out. After a refusal the next send shall fetch another. */
  function renewCredential(refused: App): void {
    if (app !== refused) return;
    app = open();
    void deleteApp(refused).catch(() => undefined);
  }

  return {
    async send(message, signal) {
      const used = app;
      const delivery = await sendOnce(agent, used, message, signal);
      if (delivery.outcome === 'unauthorized') renewCredential(used);
      return delivery;
    },
    async close() {
      await deleteApp(app);
      agent.destroy();
    },
  };
}

/**
 * What firebase-admin's `cert()` makes of the same three values, but with our
 * agent below: `cert()` takes an agent and drops it (14.5.1, `populateGoogleAuth`).
 */
function serviceAccount({ clientEmail, privateKey }: FcmOptions, agent: FcmAgent): Credential {
  const account = new JWT({ email: clientEmail, key: privateKey, scopes: [MESSAGING_SCOPE], transporterOptions: { agent } });
  return {
    async getAccessToken() {
      const { token } = await account.getAccessToken();
      if (typeof token !== 'string') throw new Error('the token endpoint answered without an access token');
      const expiresAt = account.credentials.expiry_date ?? Date.now();
      return { access_token: token, expires_in: Math.max(0, Math.floor((expiresAt - Date.now()) / 1_000)) };
    },
  };
}

async function sendOnce(agent: FcmAgent, app: App, message: PushMessage, signal: AbortSignal): Promise<Delivery> {
  if (signal.aborted) return { outcome: 'unavailable', detail: 'stopped before the request' };
  let busyAnswered: (delivery: Delivery) => void = () => undefined;
  const early = new Promise<Delivery>((resolve) => {
    busyAnswered = resolve;
  });
  return agent.watch(
    (sighting) => {
      // The library would now sleep for as long as Retry-After says, up to a minute, and then be refused: the answer is known already.
      if (sighting.status === 503) busyAnswered(unavailable(sighting, 'FCM answered 503'));
    },
    (sighting) => {
      const onAbort = () => sighting.end(new Error('the send was aborted'));
      signal.addEventListener('abort', onAbort, { once: true });
      const sent = getMessaging(app)
        .send(toFcm(message))
        .then(
          (name): Delivery => ({ outcome: 'sent', providerId: name }),
          (error: unknown) => classify(error, sighting),
        )
        .finally(() => signal.removeEventListener('abort', onAbort));
      const aborted = new Promise<Delivery>((resolve) => {
        // The library ignores the abort while it waits for an access token.
        signal.addEventListener('abort', () => resolve(lost(sighting, 'no answer in time')), { once: true });
      });
      return Promise.race([sent, early, aborted]);
    },
  );
}

/** The collapse key goes where each platform looks for it, so that a resend replaces the first instead of showing twice. */
function toFcm({ token, title, body, data, collapseKey }: PushMessage): Message {
  return {
    token,
    notification: { title, body },
    data: { ...data },
    android: { priority: 'high', collapseKey, notification: { tag: collapseKey } },
    apns: { headers: { 'apns-priority': '10', 'apns-collapse-id': collapseKey }, payload: { aps: { sound: 'default' } } },
    webpush: { headers: { Topic: collapseKey, Urgency: 'high' } },
  };
}

/** FCM's error codes: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode */
function classify(error: unknown, sighting: Sighting): Delivery {
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
    case 'messaging/authentication-error':
    case 'app/invalid-credential':
      return sighting.written || isRefusedCredential(message) ? { outcome: 'unauthorized', detail: message } : { outcome: 'unavailable', detail: message };
    case 'messaging/message-rate-exceeded':
    case 'messaging/device-message-rate-exceeded':
    case 'messaging/topics-message-rate-exceeded':
      return deferred(sighting, message);
    case 'messaging/server-unavailable':
    case 'messaging/internal-error':
      return unavailable(sighting, message);
    case 'app/network-error':
    case 'app/network-timeout':
      return sighting.status === 503 ? unavailable(sighting, 'FCM answered 503') : lost(sighting, message);
    case 'messaging/payload-size-limit-exceeded':
      return refused('message', 'payload_too_large', message);
    default:
      if (code?.startsWith('messaging/invalid-') === true) return isAboutToken(error, message) ? refused('recipient', 'invalid_token', message) : refused('message', 'invalid_payload', message);
  }
  switch (sighting.status) {
    case 401:
    case 403:
      return { outcome: 'unauthorized', detail: message };
    case 404:
      // Not a token's 404, which says UNREGISTERED: the project or the path does not exist.
      return { outcome: 'unauthorized', detail: message };
    case 429:
      return deferred(sighting, message);
    case undefined:
      // No answer at all: a failed token request before it, or a lost connection.
      if (isRefusedCredential(message)) return { outcome: 'unauthorized', detail: message };
      return lost(sighting, message);
    default:
      if (sighting.status >= 500) return unavailable(sighting, message);
      return sighting.status >= 200 && sighting.status < 300 ? lost(sighting, message) : refused('message', 'refused', message);
  }
}

function lost(sighting: Sighting, detail: string): Delivery {
  return sighting.written ? { outcome: 'ambiguous', detail } : { outcome: 'unavailable', detail };
}

function refused(about: 'recipient' | 'message', code: string, detail: string): Delivery {
  return { outcome: 'refused', about, code, detail };
}

function deferred(sighting: Sighting, detail: string): Delivery {
  return { outcome: 'deferred', code: 'rate_limited', detail, ...retryAfterMs(sighting.retryAfter) };
}

/** With a time to come back it is a deferral, which costs no try. */
function unavailable(sighting: Sighting, detail: string): Delivery {
  const wish = retryAfterMs(sighting.retryAfter);
  return wish.retryAfterMs === undefined ? { outcome: 'unavailable', detail } : { outcome: 'deferred', code: 'provider_busy', detail, ...wish };
}

/** Google's token endpoint says no to the service account, rather than not answering. */
function isRefusedCredential(message: string): boolean {
  return /invalid_grant|invalid_client|unauthorized_client|access_denied|Invalid JWT/i.test(message);
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
