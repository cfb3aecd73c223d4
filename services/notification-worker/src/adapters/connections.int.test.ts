import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import type { Delivery } from '@backhaul/jobs/notification';
import type { Action } from '@backhaul/testing';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestChannels, startTestChannels } from '../test-channels.ts';

let servers: TestChannels;
const opened: { server: Server; sockets: Socket[] }[] = [];

beforeAll(async () => {
  servers = await startTestChannels();
}, 30_000);
afterAll(() => servers.close());
beforeEach(() => servers.fakes.reset());
afterEach(() => {
  for (const { server, sockets } of opened.splice(0)) {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});

/** The channels as one function each: a send to somebody, and what the fake took for them. */
async function channel(name: 'push' | 'mail' | 'sms' | 'whatsApp', changes: Record<string, string> = {}) {
  const channels = await servers.channels({ WHATSAPP_FROM_NUMBER: '+15005550007', ...changes });
  const text = { title: 'Family', body: 'Dinner?' };
  const mailer = channels.mail.providers.find((each) => each.name === 'smtp')?.mailer;
  const send = (index: number, signal: AbortSignal): Promise<Delivery> => {
    const to = `+491511234${String(index).padStart(4, '0')}`;
    switch (name) {
      case 'push':
        return channels.push.port.send({ ...text, token: `device-${index}`, data: {}, collapseKey: 'c0ffee' }, signal);
      case 'mail': {
        if (mailer === undefined) throw new Error('no relay is configured');
        const mail = { to: `p${index}@example.com`, subject: 'Family', text: 'Dinner?\n', html: '<p>Dinner?</p>', messageIdLeft: `c0ffee${index}` };
        return mailer.send({ ...mail, key: `mail-${index}`, again: false }, signal);
      }
      case 'sms':
        return channels.sms.port.send({ to, body: 'Dinner?', reference: 'c0ffee' }, signal);
      case 'whatsApp':
        return channels.whatsApp.send({ to, contentSid: `HX${'0'.repeat(32)}`, variables: {}, reference: 'c0ffee' }, signal);
    }
  };
  const addressOf = (index: number) =>
    ({
      push: `device-${index}`,
      mail: `p${index}@example.com`,
      sms: `+491511234${String(index).padStart(4, '0')}`,
      whatsApp: `whatsapp:+491511234${String(index).padStart(4, '0')}`,
    })[name];
  return { send, addressOf };
}

/** A server that accepts connections and says only what it is told to. */
async function silentServer(says: (socket: Socket) => void = () => undefined): Promise<number> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    says(socket);
  }).listen(0, '127.0.0.1');
  opened.push({ server, sockets });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const step = (action: Action, every: number, match: Record<string, string>) => ({ match, every, action });

test.each([
  ['push', 'fcm', 'push', { operation: 'send' }],
  ['mail', 'smtp', 'mail', { step: 'message' }],
  ['sms', 'sms', 'sms', { operation: 'create' }],
  ['whatsApp', 'sms', 'sms', { operation: 'create' }],
] as const)('%s: connections that are reset among sixty sends at once leave each with the truth', async (name, service, kind, match) => {
  const { send, addressOf } = await channel(name);
  // Some lose the request, others the answer.
  await servers.fakes.script(service, [step({ reset: true }, 7, match), step({ loseReply: true }, 5, match)]);
  const deliveries = await Promise.all(Array.from({ length: 60 }, (_, index) => send(index, AbortSignal.timeout(20_000))));
  const taken = Map.groupBy(await servers.fakes.effects({ service, kind }), ({ key }) => key);
  for (const [index, { outcome }] of deliveries.entries()) {
    const times = taken.get(addressOf(index))?.length ?? 0;
    expect(['sent', 'ambiguous', 'unavailable']).toContain(outcome);
    if (outcome === 'sent') expect([index, times]).toEqual([index, 1]);
    if (outcome === 'unavailable') expect([index, times]).toEqual([index, 0]);
    expect(times).toBeLessThanOrEqual(1);
  }
  const outcomes = deliveries.map(({ outcome }) => outcome);
  // Both kinds were met: lost before the message was taken, and after.
  const lost = deliveries.flatMap(({ outcome }, index) => (outcome === 'ambiguous' ? [taken.get(addressOf(index))?.length ?? 0] : []));
  expect(new Set(lost)).toEqual(new Set([0, 1]));
  expect(outcomes.filter((outcome) => outcome === 'sent').length).toBeGreaterThanOrEqual(30);
});

test.each(['push', 'sms', 'whatsApp'] as const)(
  '%s: a server that never answers the greeting of TLS is unavailable within the time of the send',
  async (name) => {
    const address = `https://127.0.0.1:${await silentServer()}`;
    const { send } = await channel(name, { FCM_BASE_URL: address, SMS_BASE_URL: address });
    await expect(send(1, AbortSignal.timeout(500))).resolves.toMatchObject({ outcome: 'unavailable' });
  },
);

test('mail: a relay that agrees to STARTTLS and falls silent is unavailable within the time of the send', async () => {
  const port = await silentServer((socket) => {
    socket.write('220 relay.example ESMTP\r\n');
    socket.on('data', (data: Buffer) => {
      const line = data.toString('latin1');
      if (line.startsWith('EHLO')) socket.write('250-relay.example\r\n250 STARTTLS\r\n');
      else if (line.startsWith('STARTTLS')) socket.write('220 go ahead\r\n');
    });
  });
  const { send } = await channel('mail', { SMTP_PORT: String(port), SMTP_TLS: 'required' });
  await expect(send(1, AbortSignal.timeout(500))).resolves.toMatchObject({ outcome: 'unavailable' });
});

test.each(['sms', 'whatsApp'] as const)('%s: a server whose certificate is not trusted gets nothing, not even the credentials', async (name) => {
  const address = servers.stack.env['FCM_BASE_URL'] ?? '';
  const requests = async () => Object.values((await servers.fakes.traffic()).fcm.requests).reduce((sum, count) => sum + count, 0);
  const before = await requests();
  const { send } = await channel(name, { SMS_BASE_URL: address });
  await expect(send(1, AbortSignal.timeout(5_000))).resolves.toMatchObject({ outcome: 'unavailable' });
  expect(await requests()).toBe(before);
});

test.each(['push', 'sms', 'whatsApp', 'mail'] as const)(
  '%s: a server that resets every new connection is unavailable, and nothing is in doubt',
  async (name) => {
    const port = await silentServer((socket) => socket.resetAndDestroy());
    const address = `https://127.0.0.1:${port}`;
    const { send } = await channel(name, { FCM_BASE_URL: address, SMS_BASE_URL: address, SMTP_PORT: String(port) });
    await expect(send(1, AbortSignal.timeout(5_000))).resolves.toMatchObject({ outcome: 'unavailable' });
  },
);
