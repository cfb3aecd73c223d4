import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { createFcmPush } from '../../services/notification-worker/src/adapters/fcm-push.ts';

const AT_ONCE = 100;

/** Before anything counts: the code of both ways, and of the fake, is compiled. With 4,000 the first round was a fifth behind the others. */
const WARM_UP = 12_000;

/** Pushes of one way before it is the other's turn: what changes with time (clock, neighbours) meets both. */
const SLICE = 2_000;

/** A way to send pushes. */
interface Way {
  send(index: number): Promise<void>;
  close(): Promise<void>;
}

/** Pushes per second to the FCM fake: through the worker's sender (firebase-admin), and by a bare loop. `slices` of each, in turns. */
export async function racePushes(env: Record<string, string>, slices: number): Promise<{ readonly sender: number; readonly bare: number }> {
  const ways = { sender: throughSender(env), bare: await byBareLoop(env) };
  const tookMs = { sender: 0, bare: 0 };
  try {
    for (const { send } of Object.values(ways)) await sendAll(WARM_UP, send);
    for (let slice = 0; slice < slices; slice += 1) {
      const turn = slice % 2 === 0 ? (['bare', 'sender'] as const) : (['sender', 'bare'] as const);
      for (const way of turn) tookMs[way] += await sendAll(SLICE, ways[way].send);
    }
  } finally {
    await Promise.all(Object.values(ways).map((way) => way.close()));
  }
  const perSecond = (ms: number) => (slices * SLICE * 1_000) / ms;
  return { sender: perSecond(tookMs.sender), bare: perSecond(tookMs.bare) };
}

/** Runs `count` sends, 100 at once; returns how long it took. */
async function sendAll(count: number, send: Way['send']): Promise<number> {
  let next = 0;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) await send(next++);
    }),
  );
  return performance.now() - startedAt;
}

function throughSender(env: Record<string, string>): Way {
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
  return { send, close: async () => void (await push.close()) };
}

/** The same requests over as many connections that stay open. */
async function byBareLoop(env: Record<string, string>): Promise<Way> {
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
  return { send, close: async () => agent.destroy() };
}
