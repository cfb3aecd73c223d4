import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection, declareTopology } from '@backhaul/broker';
import { type NewJob, createChatTables, createDeadLetters, createEffects, createJobLedger, createJobs } from '@backhaul/database';
import { createProducer, redisOptions } from '@backhaul/queue';
import { silentLogger } from '@backhaul/runtime';
import { freePort, sharedStack } from '@backhaul/testing';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from './program.ts';

// No fleet runs here: what the bridge and the workers would write, the tests write.
const unique = `cli-${randomUUID().slice(0, 8)}`;
let world: TestDatabase;
let env: Record<string, string>;

beforeAll(async () => {
  world = await testDatabase();
  await createChatTables(world.database);
  env = { ...sharedStack().env, DATABASE_URL: world.url, QUEUE_PREFIX: unique, RABBITMQ_EXCHANGE: unique, RABBITMQ_QUEUE_PREFIX: unique };
});
afterAll(() => world.close());

async function run(args: readonly string[], overrides: Record<string, string> = {}) {
  let [out, err] = ['', ''];
  const streams = { out: { write: (text: string) => (out += text) }, err: { write: (text: string) => (err += text) } };
  const code = await runCommand([...args, '--json'], { env: { ...env, ...overrides }, streams, signal: new AbortController().signal });
  return { code, err, answer: JSON.parse(out) as Record<string, unknown> };
}

const newJob = (messageId: string): NewJob => ({
  messageId,
  queue: 'media',
  name: 'media.process-image',
  priority: 2,
  bodyHash: Buffer.alloc(32, messageId),
  payloadJson: '{"type":"image"}',
  traceparent: null,
});

/** A job that failed for good. */
async function deadJob(messageId: string): Promise<number> {
  await createJobs(world.database).record([newJob(messageId)]);
  const ledger = createJobLedger(world.database);
  await ledger.start(messageId, 'test');
  await ledger.bury(messageId, 1, { reason: 'corrupt', error: { name: 'PermanentFailure', code: 'corrupt', message: 'the picture ends early' } });
  const [letter] = await createDeadLetters(world.database).of(messageId);
  return letter?.id ?? 0;
}

/** A message that never became a job. */
async function deadMessage(messageId: string, body: Buffer, bodyBytes = body.length): Promise<number> {
  await createDeadLetters(world.database).poison([
    {
      messageId,
      queue: 'media',
      routingKey: 'media.image',
      reason: 'schema',
      message: 's3Key: expected string',
      bodyHead: body,
      bodyBytes,
      bodyHash: Buffer.alloc(32, messageId),
    },
  ]);
  const [letter] = await createDeadLetters(world.database).of(messageId);
  return letter?.id ?? 0;
}

/** What the bridge declares when it starts. */
async function declared() {
  const connection = await createConnection({ url: env['RABBITMQ_URL'] ?? '', name: unique, log: silentLogger });
  const channel = await connection.openChannel();
  await declareTopology(channel, { exchange: unique, queuePrefix: unique, queues: ['media', 'notification', 'cleanup'], deliveryLimit: 50 });
  return {
    async take(queue: string) {
      const message = await channel.get(`${unique}.${queue}`, { noAck: true });
      return message === false ? undefined : { messageId: message.properties.messageId as unknown, body: message.content.toString() };
    },
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

test('publishing before anything is declared exits 1 and says to start the bridge', async () => {
  const start = expect.stringContaining('start the bridge') as string;
  expect(await run(['publish', 'cleanup.sessions'], { RABBITMQ_EXCHANGE: `${unique}-nobody` })).toMatchObject({
    code: 1,
    answer: { error: 'no_exchange', message: start },
  });
  // An exchange that every broker has, with no queue of ours.
  expect(await run(['publish', 'cleanup.sessions'], { RABBITMQ_EXCHANGE: 'amq.topic' })).toMatchObject({
    code: 1,
    answer: { error: 'unroutable', message: start },
  });
});

test('jobs shows a message’s whole history: 0 when it was done, 1 when it is dead, 4 when nothing is known', async () => {
  await createJobs(world.database).record([newJob('done-1')]);
  const ledger = createJobLedger(world.database);
  await ledger.start('done-1', 'test');
  await ledger.finish('done-1', 1, { status: 'done', result: { width: 3 } });
  expect(await run(['jobs', 'done-1'])).toMatchObject({
    code: 0,
    answer: { state: 'done', job: { result: { width: 3 }, history: [{ event: 'started' }, { event: 'finished' }] } },
  });
  await deadJob('dead-1');
  expect(await run(['jobs', 'dead-1'])).toMatchObject({ code: 1, answer: { state: 'dead', deadLetters: [{ reason: 'corrupt' }] } });
  expect(await run(['jobs', 'nobody'])).toMatchObject({ code: 4, answer: { error: 'not_found' } });
});

test('explain tells what decided and every step in order, without contents, and nothing about another user’s message', async () => {
  await createJobs(world.database).record([{ ...newJob('explain-1'), queue: 'notification', payloadJson: '{"userId":"ann","body":"secret words"}' }]);
  const ledger = createJobLedger(world.database);
  await ledger.start('explain-1', 'test');
  const effects = createEffects(world.database);
  const claim = await effects.claim('push:explain-1', { messageId: 'explain-1', leaseMs: 60_000 });
  if (claim.state !== 'claimed') throw new Error(`expected claimed, got ${claim.state}`);
  await effects.confirm('push:explain-1', claim.token, 'provider-7');
  await ledger.finish('explain-1', 1, { status: 'done', result: { channel: 'push' } });
  const told = await run(['explain', 'explain-1', '--user', 'ann']);
  expect(told).toMatchObject({ code: 0, answer: { userId: 'ann', state: 'done', rule: 'sent' } });
  const steps = told.answer['steps'] as { stage: string; says: string }[];
  expect(steps.map(({ stage }) => stage).toSorted()).toEqual(['answered', 'claimed', 'ended', 'recorded', 'started']);
  expect(steps.find(({ stage }) => stage === 'answered')?.says).toContain('provider-7');
  expect(JSON.stringify(told.answer)).not.toContain('secret words');
  expect(await run(['explain', 'explain-1', '--user', 'bob'])).toMatchObject({ code: 4, answer: { error: 'not_found' } });
  expect(await run(['explain', 'nobody'])).toMatchObject({ code: 4 });
});

test('a dead job that is tried again is open in the record and in its queue; a second time is refused', async () => {
  const id = await deadJob('dead-2');
  expect(await run(['dlq', 'show', String(id)])).toMatchObject({ code: 0, answer: { messageId: 'dead-2', payload: { type: 'image' }, body: null } });
  expect(await run(['dlq', 'retry', String(id)])).toMatchObject({ code: 0, answer: { results: [{ id, state: 'queued', inRedis: true }] } });
  expect((await createJobs(world.database).find('dead-2'))?.status).toBe('queued');
  const producer = await createProducer({
    redis: redisOptions({ REDIS_HOST: '', REDIS_PORT: 0, REDIS_URL: env['REDIS_URL'] }),
    prefix: unique,
    log: silentLogger,
  });
  try {
    expect(await producer.missing('media', [{ messageId: 'dead-2' }, { messageId: 'other' }])).toEqual([{ messageId: 'other' }]);
  } finally {
    await producer.close();
  }
  expect(await run(['dlq', 'retry', String(id)])).toMatchObject({ code: 1, answer: { results: [{ state: 'refused', code: 'already_retried' }] } });
  expect(await run(['dlq', 'retry', '999999'])).toMatchObject({ code: 4 });
});

test('dlq retry --all with a limit tries so many again in one run, the newest first', async () => {
  const ids = [];
  for (const name of ['limit-1', 'limit-2', 'limit-3']) ids.push(await deadJob(name));
  const { answer } = await run(['dlq', 'retry', '--all', '--queue', 'media', '--limit', '2']);
  expect((answer['results'] as { id: number }[]).map(({ id }) => id)).toEqual(ids.slice(1).toReversed());
  expect((await createJobs(world.database).find('limit-1'))?.status).toBe('dead');
});

test('email-queue lists mails by status without their words', async () => {
  const mail = {
    ...newJob('mail-1'),
    queue: 'notification',
    name: 'notification.send-email',
    payloadJson: '{"email":"ann@example.com","body":"secret words"}',
  };
  await createJobs(world.database).record([mail]);
  const told = await run(['email-queue', '--status', 'pending']);
  expect(told).toMatchObject({ code: 0, answer: { emails: [{ messageId: 'mail-1', recipient: 'a…@example.com', status: 'pending' }], next: null } });
  expect(JSON.stringify(told.answer)).not.toContain('secret words');
  expect(await run(['email-queue', '--limit', '1', '--after', 'mail-1'])).toMatchObject({ code: 0, answer: { emails: [] } });
  expect(await run(['email-queue', '--status', 'lost'])).toMatchObject({ code: 2 });
});

test('a dead message is published again as it came, unless some of it was cut off', async () => {
  await using broker = await declared();
  const id = await deadMessage('poison-1', Buffer.from('{"type":"image"}'));
  expect(await run(['dlq', 'retry', String(id)])).toMatchObject({ code: 0, answer: { results: [{ state: 'published', routingKey: 'media.image' }] } });
  expect(await broker.take('media')).toEqual({ messageId: 'poison-1', body: '{"type":"image"}' });
  const cut = await deadMessage('poison-2', Buffer.from('{"type"'), 900_000);
  expect(await run(['dlq', 'retry', String(cut)])).toMatchObject({ code: 1, answer: { results: [{ state: 'refused', code: 'body_truncated' }] } });
});

test('dlq ls shows open ones, a page at a time, without their contents', async () => {
  const first = await deadJob('page-1');
  const second = await deadJob('page-2');
  const page = await run(['dlq', 'ls', '--queue', 'media', '--limit', '1']);
  expect(page).toMatchObject({ code: 0, answer: { deadLetters: [{ id: second, reason: 'corrupt' }], next: second } });
  expect(JSON.stringify(page.answer)).not.toContain('"payload"');
  expect(await run(['dlq', 'ls', '--limit', '1', '--before', String(second)])).toMatchObject({ answer: { deadLetters: [{ id: first }] } });
});

test('publish with a file uploads it, writes its message, and publishes what belongs to both', async () => {
  await using broker = await declared();
  const folder = await mkdtemp(join(tmpdir(), 'cli-'));
  try {
    const file = join(folder, 'photo one.jpg');
    await writeFile(file, 'not really a picture');
    const { code, answer } = await run(['publish', 'media.image', '--file', file, '--id', 'pub-1']);
    expect({ code, answer }).toMatchObject({
      code: 0,
      answer: { messageId: 'pub-1', s3Key: expect.stringMatching(/^uploads\/[0-9a-f-]+\/photo-one\.jpg$/) as string },
    });
    const message = await broker.take('media');
    const body = JSON.parse(message?.body ?? '{}') as Record<string, string>;
    expect(message?.messageId).toBe('pub-1');
    expect(body).toMatchObject({ type: 'image', s3Key: answer['s3Key'], originalName: 'photo one.jpg' });
    const { rows } = await world.database.query('SELECT content FROM messages WHERE id = $1', [body['messageId'] ?? '']);
    expect(rows).toEqual([{ content: 'photo one.jpg' }]);
    const [put] = await sharedStack().fakes.effects({ service: 's3', kind: 'put', key: `${env['AWS_S3_BUCKET']}/${String(answer['s3Key'])}` });
    expect(put).toBeDefined();
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('no message is made up in a table that a chat app owns', async () => {
  const chat = await testDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'cli-'));
  try {
    await createChatTables(chat.database);
    await chat.database.query('ALTER TABLE messages ADD COLUMN reactions jsonb');
    const file = join(folder, 'a.jpg');
    await writeFile(file, 'x');
    expect(await run(['publish', 'media.image', '--file', file], { DATABASE_URL: chat.url })).toMatchObject({
      code: 2,
      answer: { error: 'not_development', message: expect.stringContaining('--data') as string },
    });
    expect((await chat.database.query('SELECT 1 FROM messages')).rowCount).toBe(0);
  } finally {
    await rm(folder, { recursive: true });
    await chat.close();
  }
});

test('publish --follow waits for the job’s end and takes its exit code', async () => {
  await using broker = await declared();
  const following = run(['publish', 'cleanup.sessions', '--id', 'follow-1', '--follow']);
  // What bridge and worker do, played once the message is there.
  let message = await broker.take('cleanup');
  while (message === undefined) message = await broker.take('cleanup');
  await createJobs(world.database).record([{ ...newJob('follow-1'), queue: 'cleanup', name: 'cleanup.expire-sessions' }]);
  const ledger = createJobLedger(world.database);
  await ledger.start('follow-1', 'test');
  await ledger.finish('follow-1', 1, { status: 'skipped', result: { reason: 'nothing_to_do' } });
  expect(await following).toMatchObject({ code: 0, answer: { messageId: 'follow-1', state: 'skipped' } });
  expect((await following).err).toContain('skipped');
});

test('follow gives up after its time, exits 1 and says how to look again', async () => {
  await using broker = await declared();
  const { code, answer } = await run(['publish', 'cleanup.sessions', '--id', 'follow-2', '--follow', '--follow-timeout', '1']);
  expect({ code, answer }).toMatchObject({ code: 1, answer: { error: 'timeout', message: expect.stringContaining('backhaul jobs follow-2') as string } });
  expect(await broker.take('cleanup')).toMatchObject({ messageId: 'follow-2' });
});

test('Ctrl-C ends following with 130 and leaves the message as it is', async () => {
  await using broker = await declared();
  const stop = new AbortController();
  const streams = { out: { write: () => undefined }, err: { write: () => stop.abort(new Error('interrupted')) } };
  // The first progress line is the moment of the Ctrl-C.
  expect(await runCommand(['publish', 'cleanup.sessions', '--id', 'follow-3', '--follow'], { env, streams, signal: stop.signal })).toBe(130);
  expect(await broker.take('cleanup')).toMatchObject({ messageId: 'follow-3' });
});

test('queues and status answer; a server that is away makes status 3, and the others are shown all the same', async () => {
  await using _broker = await declared();
  expect(await run(['queues'])).toMatchObject({ code: 0, answer: { queues: [{ queue: 'media' }, { queue: 'notification' }, { queue: 'cleanup' }] } });
  expect(await run(['status'])).toMatchObject({ code: 0, answer: { servers: { postgres: { ok: true }, redis: { ok: true }, rabbitmq: { ok: true } } } });
  const away = `amqp://127.0.0.1:${await freePort()}`;
  expect(await run(['status'], { RABBITMQ_URL: away })).toMatchObject({ code: 3, answer: { servers: { postgres: { ok: true }, rabbitmq: { ok: false } } } });
});

test('doctor finds nothing wrong with a whole set-up, and names the mend of what is broken', async () => {
  await using _broker = await declared();
  const healthy = await run(['doctor']);
  expect(healthy.answer['findings']).not.toContainEqual(expect.objectContaining({ state: 'problem' }));
  expect(healthy.code).toBe(0);

  const bare = await testDatabase({ migrated: false });
  try {
    const broken = await run(['doctor'], {
      DATABASE_URL: bare.url,
      REDIS_URL: `redis://127.0.0.1:${await freePort()}`,
      RABBITMQ_QUEUE_PREFIX: `${unique}-other`,
      AWS_SECRET_ACCESS_KEY: '',
      FFMPEG_PATH: 'no-such-ffmpeg',
      SMTP_PASSWORD: 'wrong',
    });
    expect(broken.code).toBe(1);
    const problems = (broken.answer['findings'] as { name: string; state: string; mend?: string }[]).filter(({ state }) => state === 'problem');
    expect(problems.map(({ name }) => name)).toEqual([
      'postgres.migrations',
      'postgres.chat_tables',
      'redis.reachable',
      'rabbitmq.topology',
      's3.configuration',
      'ffmpeg.version',
      'smtp.handshake',
    ]);
    for (const { mend } of problems) expect(mend).toBeTruthy();
  } finally {
    await bare.close();
  }
});
