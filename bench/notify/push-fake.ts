import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { createFcmPush } from '../../services/notification-worker/src/adapters/fcm-push.ts';

const AT_ONCE = 100;

/** Runs `count` sends, 100 at once; returns sends per second. */
async function perSecond(count: number, send: (index: number) => Promise<void>): Promise<number> {
  let next = 0;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) await send(next++);
    }),
  );
  return (count / (performance.now() - startedAt)) * 1_000;
}

/** Pushes per second through the worker's sender (firebase-admin) to the FCM fake. */
export async function runSender(env: Record<string, string>, count: number): Promise<number> {
  const address = new URL(env['FCM_BASE_URL'] ?? '');
  const push = createFcmPush({
    projectId: env['FIREBASE_PROJECT_ID'] ?? '',
    clientEmail: env['FIREBASE_CLIENT_EMAIL'] ?? '',
    privateKey: (env['FIREBASE_PRIVATE_KEY'] ?? '').replaceAll('\\n', '\n'),
    redirect: { host: address.hostname, port: Number(address.port), ca: readFileSync(env['FCM_CA_FILE'] ?? '', 'utf8') },
  });
  const send = async (index: number) => {
    const delivery = await push.send(
      { token: `device-${index}`, title: 'Hello', body: 'there', data: {}, collapseKey: index.toString(16) },
      new AbortController().signal,
    );
    if (delivery.outcome !== 'sent') throw new Error(`the fake answered ${delivery.outcome}`);
  };
  try {
    await perSecond(AT_ONCE * 5, send);
    return await perSecond(count, send);
  } finally {
    await push.close();
  }
}

/** The same requests by a bare loop over as many connections that stay open. */
export async function runBareLoop(env: Record<string, string>, count: number): Promise<number> {
  const address = new URL(env['FCM_BASE_URL'] ?? '');
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE, ca: readFileSync(env['FCM_CA_FILE'] ?? '', 'utf8') });
  const options = { agent, host: address.hostname, port: address.port, servername: 'fcm.googleapis.com', method: 'POST' };
  const path = `/v1/projects/${env['FIREBASE_PROJECT_ID'] ?? ''}/messages:send`;
  const ask = (to: string, servername: string, headers: Record<string, string>, body: string) =>
    new Promise<string>((resolve, reject) => {
      const asking = request({ ...options, servername, path: to, headers: { ...headers, 'content-length': Buffer.byteLength(body) } }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`the fake answered ${response.statusCode}: ${text}`))));
      });
      asking.once('error', reject);
      asking.end(body);
    });
  const { access_token: token } = JSON.parse(await ask('/token', 'oauth2.googleapis.com', {}, '')) as { access_token: string };
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const send = async (index: number) => {
    const key = index.toString(16);
    const body = {
      message: {
        token: `device-${index}`,
        notification: { title: 'Hello', body: 'there' },
        android: { collapse_key: key, notification: { tag: key } },
        apns: { headers: { 'apns-collapse-id': key } },
        webpush: { headers: { Topic: key } },
      },
    };
    await ask(path, 'fcm.googleapis.com', headers, JSON.stringify(body));
  };
  try {
    await perSecond(AT_ONCE * 5, send);
    return await perSecond(count, send);
  } finally {
    agent.destroy();
  }
}
