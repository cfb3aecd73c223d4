import { createHash, createHmac, randomUUID } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { createEmailQueue, createJobs } from '@backhaul/database';
import type { notificationJobs } from '@backhaul/jobs/notification';
import { type Producer, createProducer, redisEnv, redisOptions, seal } from '@backhaul/queue';
import { loadConfig, pause, silentLogger } from '@backhaul/runtime';
import { type Effect, eventually, freePort, sharedStack, startFleet } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { type TestChannels, startTestChannels } from './test-channels.ts';
import { createTestDatabase } from './test-database.ts';

const prefix = `notify-${randomUUID().slice(0, 8)}`;
let servers: TestChannels;
let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
let producer: Producer;

beforeAll(async () => {
  servers = await startTestChannels();
  testDatabase = await createTestDatabase();
  producer = await createProducer({ redis: redisOptions(loadConfig(z.object(redisEnv), sharedStack().env)), prefix, log: silentLogger });
});
afterAll(async () => {
  await producer.close();
  await servers.close();
  await testDatabase.close();
});
beforeEach(() => servers.fakes.reset());

async function startWorkerProcess(changes: Record<string, string> = {}, opsApiPort?: number) {
  const env = {
    ...sharedStack().env,
    ...servers.stack.env,
    DATABASE_URL: testDatabase.url,
    QUEUE_PREFIX: prefix,
    WORKER_LOCK_DURATION_MS: '3000',
    WORKER_STALLED_INTERVAL_MS: '500',
    ...changes,
  };
  const services = opsApiPort === undefined ? ['notification-worker'] : ['notification-worker', 'ops-api'];
  return startFleet({ env, services, overrides: { 'ops-api': { PORT: String(opsApiPort) } }, logDir: await mkdtemp(join(servers.stack.dir, 'log-')) });
}

/** Accepts a job as the bridge would: recorded, then added. */
async function accept(name: (typeof notificationJobs)[number]['name'], payload: object): Promise<string> {
  const messageId = randomUUID();
  const payloadJson = JSON.stringify(payload);
  await createJobs(testDatabase.database).record([
    { messageId, queue: 'notification', name, priority: 1, bodyHash: createHash('sha256').update(payloadJson).digest(), payloadJson, traceparent: null },
  ]);
  await producer.addBatch('notification', [{ messageId, name, priority: 1, traceparent: null }]);
  return messageId;
}

/** Accepts pushes as the bridge does when they come together: one Bull job carries them all. */
async function acceptEnvelope(payloads: readonly object[]): Promise<string[]> {
  const jobs = seal(
    payloads.map((payload) => {
      const payloadJson = JSON.stringify(payload);
      const bodyHash = createHash('sha256').update(payloadJson).digest();
      return { messageId: randomUUID(), queue: 'notification', name: 'notification.send-push', priority: 3, bodyHash, payloadJson, traceparent: null };
    }),
    () => 200,
  );
  await createJobs(testDatabase.database).record(jobs);
  await producer.addBatch('notification', jobs);
  return jobs.map(({ messageId }) => messageId);
}

const collapseKeyOf = (effect: Effect | undefined) => (effect?.['message'] as { android?: { collapse_key?: string } } | undefined)?.android?.collapse_key;

const text = { userId: randomUUID(), title: 'Family', body: 'Dinner?' };
const whatsapp = { contentSid: `HX${'0'.repeat(32)}`, variables: { 1: 'Ann' } };
const status = async (messageId: string) => (await createJobs(testDatabase.database).find(messageId))?.status;
const untilStatus = (messageId: string, wanted: string) => eventually(async () => expect(await status(messageId)).toBe(wanted), { timeoutMs: 20_000 });

test('the worker sends what is queued on every channel, reports its channels, and stops when asked', async () => {
  await using fleet = await startWorkerProcess();
  const ids = await Promise.all([
    accept('notification.send-push', { type: 'push', ...text, fcmToken: 'device' }),
    accept('notification.send-email', { type: 'email', ...text, email: 'ann@example.com' }),
    accept('notification.send-sms', { type: 'sms', ...text, phoneNumber: '+4915112345678' }),
  ]);
  for (const id of ids) await untilStatus(id, 'done');
  for (const [service, kind] of [
    ['fcm', 'push'],
    ['smtp', 'mail'],
    ['sms', 'sms'],
  ] as const)
    expect(await servers.fakes.effects({ service, kind })).toHaveLength(1);
  const health: unknown = await (await fetch(`${fleet.get('notification-worker').url}/health`)).json();
  expect(health).toMatchObject({
    status: 'healthy',
    dependencies: { postgres: { ok: true }, redis: { ok: true }, push: { ok: true, critical: false }, mail: { ok: true }, sms: { ok: true } },
  });
  const metrics = await (await fetch(`${fleet.get('notification-worker').url}/metrics`)).text();
  expect(metrics).toMatch(/backhaul_provider_requests_total\{[^}]*provider="fcm",outcome="sent"[^}]*\} 1/);
  expect(await fleet.stop()).toMatchObject({ 'notification-worker': { code: 0 } });
});

test('how a message fared is told afterwards, one that WhatsApp did not deliver is followed by a text, and who answers STOP gets no more', async () => {
  const port = await freePort();
  const opsApi = `http://127.0.0.1:${port}`;
  await using _fleet = await startWorkerProcess({ SMS_WEBHOOK_BASE_URL: opsApi, WHATSAPP_FROM_NUMBER: '+15005550007' }, port);
  const story = async (id: string) => ((await (await fetch(`${opsApi}/v1/explain/${id}`)).json()) as { steps: { stage: string; says: string }[] }).steps;
  const ends = [
    ['+4915112340001', 'the provider reports it as delivered'],
    ['+4915112340404', 'the provider reports it as undelivered (30003: the phone cannot be reached)'],
  ] as const;
  for (const [phoneNumber, says] of ends) {
    const id = await accept('notification.send-sms', { type: 'sms', ...text, phoneNumber });
    await eventually(async () => expect(await story(id)).toContainEqual(expect.objectContaining({ stage: 'reported', says })), { timeoutMs: 20_000 });
  }

  for (const [phoneNumber, ways] of [
    ['+4915112345678', ['whatsapp:+4915112345678']],
    ['+4915112350404', ['whatsapp:+4915112350404', '+4915112350404']],
  ] as const) {
    await untilStatus(await accept('notification.send-sms', { type: 'sms', ...text, phoneNumber, whatsapp }), 'done');
    const sent = await servers.fakes.effects({ service: 'sms', kind: 'sms' });
    expect(sent.map(({ key }) => key).filter((key) => key.endsWith(phoneNumber))).toEqual(ways);
  }

  const address = `${opsApi}/webhooks/twilio/inbound`;
  const signature = createHmac('sha1', servers.stack.env['SMS_API_SECRET'] ?? '').update(`${address}BodySTOPFrom+4915112340001MessageSidSM1`);
  const answer = await fetch(address, {
    method: 'POST',
    headers: { 'x-twilio-signature': signature.digest('base64') },
    body: new URLSearchParams({ Body: 'STOP', From: '+4915112340001', MessageSid: 'SM1' }),
  });
  expect(answer.status).toBe(200);
  const id = await accept('notification.send-sms', { type: 'sms', ...text, phoneNumber: '+4915112340001' });
  await untilStatus(id, 'skipped');
  expect((await story(id)).at(-1)?.says).toContain('opted_out');
});

test('beyond the dispatch limit mails wait without using a try, and operators see why', async () => {
  await using _fleet = await startWorkerProcess({ MAIL_PER_MINUTE: '1' });
  const ids = await Promise.all([1, 2, 3].map((index) => accept('notification.send-email', { type: 'email', ...text, email: `user${index}@example.com` })));
  const emails = createEmailQueue(testDatabase.database);
  const ours = async () => (await emails.list({ limit: 100 })).filter(({ messageId }) => ids.includes(messageId));
  await eventually(
    async () =>
      expect((await ours()).map(({ status, error }) => `${status} ${error}`).toSorted()).toEqual([
        'retrying dispatch_limit',
        'retrying dispatch_limit',
        'sent null',
      ]),
    { timeoutMs: 20_000 },
  );
  expect(await servers.fakes.effects({ service: 'smtp', kind: 'mail' })).toHaveLength(1);
  const jobs = createJobs(testDatabase.database);
  expect((await Promise.all(ids.map((id) => jobs.find(id)))).map((job) => job?.failures)).toEqual([0, 0, 0]);
});

test('D-08: after one 429 every push that is queued waits, in all workers: none asks in vain, and no try is used up', async () => {
  await using _one = await startWorkerProcess();
  await using _other = await startWorkerProcess();
  const sends = async () => (await servers.fakes.traffic()).fcm.requests['send'] ?? 0;
  const before = await sends();
  await servers.fakes.script('fcm', [{ match: { operation: 'send' }, times: 1, action: { code: 'QUOTA_EXCEEDED', headers: { 'retry-after': '8' } } }]);
  const first = await accept('notification.send-push', { type: 'push', ...text, fcmToken: 'device' });
  await untilStatus(first, 'retrying');
  // Longer than the workers may take to hear of it.
  await pause(1_500);
  const ids = await Promise.all(
    Array.from({ length: 20 }, (_, index) => accept('notification.send-push', { type: 'push', ...text, fcmToken: `device-${index}` })),
  );
  for (const id of [first, ...ids]) await untilStatus(id, 'done');
  expect(await servers.fakes.effects({ service: 'fcm', kind: 'push' })).toHaveLength(21);
  expect((await sends()) - before).toBe(22);
  const jobs = createJobs(testDatabase.database);
  for (const id of ids) {
    const job = await jobs.find(id);
    expect(job?.failures).toBe(0);
    expect(job?.history).toContainEqual(expect.objectContaining({ event: 'postponed', code: 'channel_held' }));
  }
}, 60_000);

test('without channels it starts, warns, and its jobs are dead letters', async () => {
  const names = [
    'FIREBASE_PROJECT_ID',
    'FIREBASE_CLIENT_EMAIL',
    'FIREBASE_PRIVATE_KEY',
    'FCM_BASE_URL',
    'FCM_CA_FILE',
    'SMTP_HOST',
    'SMTP_FROM',
    'SMTP_USER',
    'SMTP_PASSWORD',
    'RESEND_API_KEY',
    'MAIL_PROVIDERS',
    'SMS_API_KEY',
    'SMS_API_SECRET',
    'SMS_FROM_NUMBER',
  ];
  await using fleet = await startWorkerProcess(Object.fromEntries(names.map((name) => [name, ''])));
  const id = await accept('notification.send-sms', { type: 'sms', ...text, phoneNumber: '+4915112345678' });
  await untilStatus(id, 'dead');
  expect(fleet.get('notification-worker').logs()).toContain('SMS_API_KEY, SMS_API_SECRET and SMS_FROM_NUMBER');
});

test.each([
  ['push', 'notification.send-push', { type: 'push', ...text, fcmToken: 'device' }, 'fcm', 'push', 2, 'done'],
  ['mail', 'notification.send-email', { type: 'email', ...text, email: 'ann@example.com' }, 'smtp', 'mail', 2, 'done'],
  ['SMS', 'notification.send-sms', { type: 'sms', ...text, phoneNumber: '+4915112345678' }, 'sms', 'sms', 1, 'done'],
  // Nobody reports here: whether it arrived stays unknown, and a text could be the second copy.
  ['WhatsApp message', 'notification.send-sms', { type: 'sms', ...text, phoneNumber: '+4915112345678', whatsapp }, 'sms', 'sms', 1, 'dead'],
] as const)(
  'A-07: killed between a %s and its confirmation, the worker that follows keeps to the policy',
  async (_channel, name, payload, service, kind, sends, ended) => {
    const changes = { WHATSAPP_FROM_NUMBER: '+15005550007' };
    await using doomed = await startWorkerProcess({ ...changes, FAILPOINT: 'notification.sent' });
    const id = await accept(name, payload);
    await doomed.get('notification-worker').exited;
    expect(await servers.fakes.effects({ service, kind })).toHaveLength(1);
    // The claim's lease is 45 s; its end is brought forward.
    await testDatabase.database.query(`UPDATE backhaul.effects SET lease_until = now() - interval '1 second' WHERE message_id = $1`, [id]);
    await using _fleet = await startWorkerProcess(changes);
    await untilStatus(id, ended);
    const effects = await servers.fakes.effects({ service, kind });
    expect(effects).toHaveLength(sends);
    // What a device, or a mail program, knows the copy by.
    const marks = effects.map((effect) => (kind === 'push' ? collapseKeyOf(effect) : (effect['messageId'] ?? effect['sid'])));
    expect([new Set(marks).size, marks[0]]).toEqual([1, expect.stringMatching(/\S{8,}/) as string]);
    const { rows } = await testDatabase.database.query('SELECT success FROM notifications WHERE type = $1 ORDER BY created_at DESC LIMIT 1', [payload.type]);
    expect(rows).toEqual([{ success: ended === 'done' }]);
  },
);

test('A-07: killed in the middle of an envelope, each push of it is sent at most twice, with one collapse key, and those that were confirmed once', async () => {
  const userId = randomUUID();
  const ids = await acceptEnvelope(Array.from({ length: 40 }, (_, index) => ({ type: 'push', ...text, userId, fcmToken: `device-${index}` })));
  await using doomed = await startWorkerProcess({ FAILPOINT: 'notification.sent:10' });
  await doomed.get('notification-worker').exited;
  const { rows: confirmed } = await testDatabase.database.query<{ messageId: string }>(
    `SELECT message_id AS "messageId" FROM backhaul.effects WHERE state = 'confirmed' AND message_id = ANY($1)`,
    [ids],
  );
  await testDatabase.database.query(`UPDATE backhaul.effects SET lease_until = now() - interval '1 second' WHERE message_id = ANY($1)`, [ids]);
  await using _fleet = await startWorkerProcess();
  for (const id of ids) await untilStatus(id, 'done');

  const effects = await servers.fakes.effects({ service: 'fcm', kind: 'push' });
  const sends = Map.groupBy(effects, ({ key }) => key);
  expect(sends.size).toBe(40);
  let twice = 0;
  for (const same of sends.values()) {
    expect(same.length).toBeLessThanOrEqual(2);
    if (same.length === 2) twice += 1;
    expect(new Set(same.map((effect) => collapseKeyOf(effect))).size).toBe(1);
    expect(collapseKeyOf(same[0])).toMatch(/^[0-9a-f]{32}$/);
  }
  expect(twice).toBeLessThanOrEqual(40 - confirmed.length);
  // The kill came after a send and before its confirmation: at least that one is unknown, and sent again.
  expect(twice).toBeGreaterThanOrEqual(1);
  const { rows } = await testDatabase.database.query('SELECT count(*)::int AS count FROM notifications WHERE user_id = $1 AND success', [userId]);
  expect(rows).toEqual([{ count: 40 }]);
});

test('in an envelope each push has its own end: gone, refused, put off, reset, lost, and the rest sent at once and once', async () => {
  const answers = {
    gone: [{ code: 'UNREGISTERED' }, 1],
    later: [{ status: 429, headers: { 'retry-after': '1' } }, 1],
    reset: [{ reset: true }, 1],
    lost: [{ loseReply: true }, 1],
    refused: [{ status: 400, code: 'INVALID_ARGUMENT' }, 1],
  } as const;
  for (const [token, [action, times]] of Object.entries(answers)) await servers.fakes.script('fcm', [{ match: { operation: 'send', token }, action, times }]);
  const userId = randomUUID();
  const names = [...Object.keys(answers), ...Array.from({ length: 95 }, (_, index) => `fine-${index}`)];
  const ids = await acceptEnvelope(names.map((fcmToken) => ({ type: 'push', ...text, userId, fcmToken })));
  const idOf = (name: string) => ids[names.indexOf(name)] ?? '';
  await using _fleet = await startWorkerProcess();
  for (const name of names.slice(5)) await untilStatus(idOf(name), 'done');
  await untilStatus(idOf('gone'), 'dead');
  await untilStatus(idOf('refused'), 'dead');
  await untilStatus(idOf('later'), 'done');
  // Whether these two were sent is unknown until their claims end, in 45 s; they wait for it alone.
  for (const name of ['reset', 'lost']) {
    await untilStatus(idOf(name), 'retrying');
    const waiting = await createJobs(testDatabase.database).find(idOf(name));
    expect(waiting).toMatchObject({ attempts: 1, failures: 0, carrier: null });
    expect(waiting?.history.at(-1)).toMatchObject({ event: 'postponed', code: 'delivery_ambiguous' });
  }
  const sends = Map.groupBy(await servers.fakes.effects({ service: 'fcm', kind: 'push' }), ({ key }) => key);
  for (const name of [...names.slice(5), 'later', 'lost']) expect([name, sends.get(name)?.length]).toEqual([name, 1]);
  expect([sends.get('gone'), sends.get('refused'), sends.get('reset')]).toEqual([undefined, undefined, undefined]);
  const fine = await createJobs(testDatabase.database).find(idOf('fine-7'));
  expect(fine).toMatchObject({ attempts: 1, failures: 0 });
  expect(fine?.history.map(({ event }) => event)).toEqual(['started', 'finished']);
});
