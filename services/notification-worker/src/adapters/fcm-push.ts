import { randomUUID } from 'node:crypto';
import type { Delivery, PushMessage, PushSender } from '@backhaul/jobs/notification';
import type { Closeable } from '@backhaul/runtime';
import { type App, type Credential, deleteApp, initializeApp } from 'firebase-admin/app';
import { getMessaging } from 'firebase-admin/messaging';
import { JWT } from 'google-auth-library';
import { FcmAgent, type Redirect } from './fcm-agent.ts';
import { classify, lost, unavailable } from './fcm-answer.ts';
import { toFcm } from './fcm-message.ts';

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
  /** Apps whose credentials FCM has taken. */
  const proven = new WeakSet<App>();

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
      if (delivery.outcome === 'sent') proven.add(used);
      if (delivery.outcome !== 'unauthorized' || delivery.about === 'platform') return delivery;
      renewCredential(used);
      // Refused, so certainly not sent. An access token that was good and is not any more is no reason to call the account refused.
      if (!proven.has(used)) return delivery;
      const again = app;
      const second = await sendOnce(agent, again, message, signal);
      if (second.outcome === 'sent') proven.add(again);
      else if (second.outcome === 'unauthorized') renewCredential(again);
      return second;
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
      const aborted = Promise.withResolvers<Delivery>();
      const onAbort = () => {
        sighting.end(new Error('the send was aborted'));
        // The library ignores the abort while it waits for an access token.
        aborted.resolve(lost(sighting, 'no answer in time'));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      // In a promise of its own: the library checks the message before it returns one, and throws.
      const sent = Promise.resolve()
        .then(() => getMessaging(app).send(toFcm(message)))
        .then(
          (name): Delivery => ({ outcome: 'sent', providerId: name }),
          (error: unknown) => classify(error, sighting),
        );
      return Promise.race([sent, early, aborted.promise]).finally(() => signal.removeEventListener('abort', onAbort));
    },
  );
}
