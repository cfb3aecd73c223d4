import { randomUUID } from 'node:crypto';
import { createDeadLetters, createEffects, createJobLedger, createJobRuns, createJobs } from '@backhaul/database';
import { catalog, queues } from '@backhaul/jobs';
import { createInspector, failFast, redisOptions, whenReady } from '@backhaul/queue';
import { createReplay } from '@backhaul/replay';
import { createHealthServer, createMetrics, silentLogger } from '@backhaul/runtime';
import { sharedStack } from '@backhaul/testing';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerErrors, requireToken } from '../http-errors.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import { jobRoutes } from './jobs.ts';
import { queueRoutes } from './queues.ts';
import { scheduleRoutes } from './schedules.ts';

let world: TestDatabase;
let url = '';
const stop: (() => Promise<unknown>)[] = [];
const added: unknown[] = [];

beforeAll(async () => {
  world = await testDatabase();
  stop.push(() => world.close());
  const redis = failFast(redisOptions({ REDIS_HOST: '', REDIS_PORT: 0, REDIS_URL: sharedStack().env['REDIS_URL'] }), silentLogger);
  stop.push(() => Promise.resolve(redis.disconnect()));
  await whenReady(redis, 5_000);
  const inspector = createInspector({ redis, prefix: `ops-${randomUUID()}`, queues: queues.map(({ name }) => name), log: silentLogger });
  stop.push(() => inspector.close());
  const jobs = createJobs(world.database);
  const deadLetters = createDeadLetters(world.database);
  const replay = createReplay({
    deadLetters,
    producer: () => Promise.resolve({ addBatch: (queue, batch) => Promise.resolve(void added.push([queue, batch.map(({ messageId }) => messageId)])) }),
    publisher: () => Promise.reject(new Error('no broker here')),
    log: silentLogger,
  });
  const http = createHealthServer({ service: 'ops-api', log: silentLogger, metrics: createMetrics('ops-api'), onShutdown: () => undefined });
  http.app.use(
    queueRoutes({ inspector, jobs, timeoutMs: 3_000 }),
    jobRoutes({ jobs, effects: createEffects(world.database), deadLetters, inspector }),
    deadLetterRoutes({ deadLetters, replay, authorized: requireToken('the-token') }),
    scheduleRoutes({ scheduled: catalog.scheduled, runs: createJobRuns(world.database) }),
    answerErrors,
  );
  const { port } = await http.listen('127.0.0.1', 0);
  stop.push(() => http.close());
  url = `http://127.0.0.1:${port}`;
});
afterAll(async () => {
  for (const each of stop.toReversed()) await each();
});

async function ask(path: string, init?: RequestInit) {
  const answer = await fetch(url + path, init);
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

async function record(messageId: string, end?: 'dead') {
  await createJobs(world.database).record([
    {
      messageId,
      queue: 'notification',
      name: 'notification.send-sms',
      priority: 1,
      bodyHash: Buffer.alloc(32, messageId),
      payloadJson: '{"phoneNumber":"+15005550006"}',
      traceparent: null,
    },
  ]);
  if (end === undefined) return 0;
  const ledger = createJobLedger(world.database);
  await ledger.start(messageId, 'test');
  await ledger.bury(messageId, 1, { reason: 'invalid_number', error: { name: 'PermanentFailure', code: 'invalid_number', message: 'no such number' } });
  return (await createDeadLetters(world.database).of(messageId))[0]?.id ?? 0;
}

test('a message is explained with the rule that decided, and without its contents', async () => {
  await record('explained', 'dead');
  const told = await ask('/v1/explain/explained');
  expect(told).toMatchObject({ status: 200, body: { state: 'dead', rule: 'invalid_number', job: 'notification.send-sms' } });
  expect(JSON.stringify(told.body)).not.toContain('+15005550006');
  expect(await ask('/v1/explain/explained?user=somebody')).toMatchObject({ status: 404 });
  expect(await ask('/v1/explain/never-came')).toMatchObject({ status: 404, body: { error: 'not_found' } });
  expect(await ask('/v1/explain/explained?who=ann')).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
});

test('a job is shown with its history, effects and dead letters', async () => {
  await record('ops-1', 'dead');
  expect(await ask('/v1/jobs/ops-1')).toMatchObject({
    status: 200,
    body: {
      job: { status: 'dead', history: [{ event: 'started' }, { event: 'finished', status: 'dead' }] },
      progress: null,
      effects: [],
      deadLetters: [{ reason: 'invalid_number' }],
    },
  });
  expect(await ask('/v1/jobs/nobody')).toMatchObject({ status: 404, body: { error: 'not_found' } });
});

test('open jobs are listed a page at a time, without what people wrote', async () => {
  await record('page-a');
  await record('page-b');
  const first = await ask('/v1/jobs?status=queued&queue=notification&limit=1');
  expect(first).toMatchObject({ status: 200, body: { jobs: [{ messageId: 'page-a', status: 'queued' }], next: 'page-a' } });
  expect(JSON.stringify(first.body)).not.toContain('+1500');
  expect(await ask('/v1/jobs?limit=1&after=page-a')).toMatchObject({ body: { jobs: [{ messageId: 'page-b' }] } });
});

test('queues show what Redis holds beside what is recorded, and schedules their times', async () => {
  await record('queue-1');
  const { body } = await ask('/v1/queues');
  expect(body['queues']).toContainEqual(
    expect.objectContaining({
      queue: 'notification',
      redis: expect.objectContaining({ waiting: 0 }) as object,
      recorded: expect.objectContaining({ queued: expect.objectContaining({ count: expect.any(Number) as number }) as object }) as object,
    }),
  );
  const schedules = (await ask('/v1/schedules')).body['schedules'] as object[];
  expect(schedules).toHaveLength(catalog.scheduled.length);
  expect(schedules).toContainEqual({ job: 'cleanup.expire-stories', queue: 'cleanup', cron: '0 * * * *', lastFired: null });
});

test.each([
  ['/v1/jobs?limit=0', 'limit:'],
  ['/v1/jobs?limit=501', 'limit:'],
  ['/v1/jobs?limit=5&limit=6', 'limit:'],
  ['/v1/jobs?queue=nope', 'queue: expected one of media, notification, cleanup'],
  ['/v1/jobs?status=done', 'status:'],
  ['/v1/jobs?sort=asc', 'sort: there is no such parameter'],
  [`/v1/jobs/${'x'.repeat(600)}`, 'messageId:'],
  ['/v1/dead-letters?before=-1', 'before:'],
  ['/v1/dead-letters?retried=maybe', 'retried: expected true or false'],
  ['/v1/dead-letters/1e9', 'id:'],
])('a wrong parameter is 400 and named: %s', async (path, named) => {
  const { status, body } = await ask(path);
  expect({ status, error: body['error'] }).toEqual({ status: 400, error: 'invalid_request' });
  expect(body['message']).toContain(named);
});

test('a retry needs the token; nothing happens without it', async () => {
  const id = await record('retry-1', 'dead');
  for (const authorization of ['', 'Bearer wrong', 'the-token']) {
    expect(await ask(`/v1/dead-letters/${id}/retry`, { method: 'POST', headers: { authorization } })).toMatchObject({
      status: 401,
      body: { error: 'unauthorized' },
    });
  }
  expect((await createJobs(world.database).find('retry-1'))?.status).toBe('dead');

  const headers = { authorization: 'Bearer the-token' };
  expect(await ask(`/v1/dead-letters/${id}/retry`, { method: 'POST', headers })).toMatchObject({
    status: 202,
    body: { state: 'queued', messageId: 'retry-1', inRedis: true },
  });
  expect(added).toEqual([['notification', ['retry-1']]]);
  expect(await ask(`/v1/dead-letters/${id}`)).toMatchObject({
    status: 200,
    body: { retriedAt: expect.any(String) as string, payload: { phoneNumber: '+15005550006' } },
  });
  expect(await ask(`/v1/dead-letters/${id}/retry`, { method: 'POST', headers })).toMatchObject({ status: 409, body: { error: 'already_retried' } });
  expect(await ask('/v1/dead-letters/999999/retry', { method: 'POST', headers })).toMatchObject({ status: 404, body: { error: 'not_found' } });
});

test('a dead message goes nowhere while the broker is away: 503, and it stays open', async () => {
  const deadLetters = createDeadLetters(world.database);
  await deadLetters.poison([
    {
      messageId: 'p-1',
      queue: 'media',
      routingKey: 'media.image',
      reason: 'schema',
      message: 'm',
      bodyHead: Buffer.from('{}'),
      bodyBytes: 2,
      bodyHash: Buffer.alloc(32, 1),
    },
  ]);
  const id = (await deadLetters.of('p-1'))[0]?.id ?? 0;
  expect(await ask(`/v1/dead-letters/${id}/retry`, { method: 'POST', headers: { authorization: 'Bearer the-token' } })).toMatchObject({
    status: 503,
    body: { error: 'unavailable' },
  });
  expect((await deadLetters.find(id))?.retriedAt).toBeNull();
});
