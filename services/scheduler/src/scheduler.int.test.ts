import { randomUUID } from 'node:crypto';
import { type Database, createDatabase, createJobRuns, migrate } from '@backhaul/database';
import { catalog } from '@backhaul/jobs';
import { type Producer, createProducer, redisOptions } from '@backhaul/queue';
import { silentLogger } from '@backhaul/runtime';
import { eventually, sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createFire } from './fire.ts';
import { createSchedules } from './schedule.ts';
import { createSchedulesView } from './schedules-view.ts';
import { startScheduler } from './scheduler.ts';

const schedules = createSchedules(catalog.scheduled, new Map());
const name = `test_scheduler_${randomUUID().replaceAll('-', '')}`;
const open = (url: string): Database => createDatabase({ url, poolSize: 4, statementTimeoutMs: 10_000, applicationName: 'test', log: silentLogger });
let server: Database;
let database: Database;
let producer: Producer;

beforeAll(async () => {
  const { env } = sharedStack();
  const url = new URL(env['DATABASE_URL'] ?? '');
  server = open(url.href);
  await server.query(`CREATE DATABASE ${name}`);
  url.pathname = name;
  database = open(url.href);
  await migrate(database);
  producer = await createProducer({ redis: redisOptions({ REDIS_URL: env['REDIS_URL'], REDIS_HOST: '', REDIS_PORT: 0 }), prefix: name, log: silentLogger });
});
afterAll(async () => {
  const keys = await producer.redis.keys(`${name}:*`);
  if (keys.length > 0) await producer.redis.del(keys);
  await producer.close();
  await database.close();
  await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
  await server.close();
});
beforeEach(() => database.query('TRUNCATE backhaul.job_runs, backhaul.jobs'));

const runs = () => createJobRuns(database);
const job = (wanted: string) => {
  const found = catalog.scheduled.find((each) => each.name === wanted);
  if (found === undefined) throw new Error(`no scheduled job ${wanted}`);
  return found;
};
const rows = async (sql: string) => (await database.query(sql)).rows;

test('every job of the design has its schedule', () => {
  expect(Object.fromEntries(schedules.map(({ job: { name: each }, cron }) => [each, cron]))).toEqual({
    'cleanup.expire-stories': '0 * * * *',
    'cleanup.expire-sessions': '0 0 * * *',
    'cleanup.purge-messages': '0 1 * * *',
    'cleanup.delete-temp-files': '0 2 * * *',
    'cleanup.maintain-database': '0 3 * * *',
    'cleanup.rotate-prekeys': '0 4 * * *',
    'cleanup.delete-orphaned-media': '0 5 * * 0',
    'cleanup.refresh-user-statistics': '0 */6 * * *',
    'cleanup.close-stale-websockets': '*/15 * * * *',
    'cleanup.check-health': '*/5 * * * *',
  });
});

test('a fire is one row in the record and one job in the queue', async () => {
  const fire = createFire({ runs: runs(), producer, log: silentLogger });
  const before = await producer.depth('cleanup');
  const slot = new Date('2026-11-22T03:00:00Z');
  expect(await fire(job('cleanup.expire-stories'), slot)).toBe('fired');
  expect(await fire(job('cleanup.expire-stories'), slot)).toBe('taken');
  const messageId = 'schedule:cleanup.expire-stories:2026-11-22T03:00:00.000Z';
  expect(await rows('SELECT job_name, scheduled_for, message_id FROM backhaul.job_runs')).toEqual([
    { job_name: 'cleanup.expire-stories', scheduled_for: slot, message_id: messageId },
  ]);
  expect(await rows('SELECT message_id, queue, name, status, payload FROM backhaul.jobs')).toEqual([
    { message_id: messageId, queue: 'cleanup', name: 'cleanup.expire-stories', status: 'queued', payload: { type: 'stories' } },
  ]);
  expect(await producer.missing('cleanup', [{ messageId }])).toEqual([]);
  expect(await producer.depth('cleanup')).toBe(before + 1);
});

test('G-03: twenty schedulers fire each slot exactly once between them', async () => {
  const fires = Array.from({ length: 20 }, () => createFire({ runs: runs(), producer, log: silentLogger }));
  const slots = Array.from({ length: 5 }, (_, hour) => new Date(Date.UTC(2026, 10, 22, hour)));
  for (const slot of slots) {
    const results = await Promise.all(fires.map((fire) => fire(job('cleanup.check-health'), slot)));
    expect(results.filter((result) => result === 'fired')).toHaveLength(1);
  }
  expect(await rows('SELECT count(*)::int AS count FROM backhaul.job_runs')).toEqual([{ count: 5 }]);
  expect(await rows('SELECT count(*)::int AS count FROM backhaul.jobs')).toEqual([{ count: 5 }]);
});

test('G-03: two schedulers that start at once catch up each schedule once', async () => {
  const start = () =>
    startScheduler({
      schedules,
      fire: createFire({ runs: runs(), producer, log: silentLogger }),
      latest: () => runs().latest(),
      catchUpMs: 6 * 3_600_000,
      log: silentLogger,
    });
  const schedulers = [start(), start()];
  await eventually(async () => {
    const fired = (await rows('SELECT job_name FROM backhaul.job_runs')).map((row) => row['job_name']);
    for (const wanted of ['cleanup.expire-stories', 'cleanup.refresh-user-statistics', 'cleanup.close-stale-websockets', 'cleanup.check-health'])
      expect(fired).toContain(wanted);
  });
  await Promise.all(schedulers.map((scheduler) => scheduler.close()));
  const perSlot = await rows(
    'SELECT r.message_id, count(*)::int AS count FROM backhaul.job_runs r JOIN backhaul.jobs j USING (message_id) GROUP BY 1 HAVING count(*) <> 1',
  );
  expect(perSlot).toEqual([]);
  expect(await rows('SELECT count(*)::int AS count FROM backhaul.jobs')).toEqual(await rows('SELECT count(*)::int AS count FROM backhaul.job_runs'));
});

test('without Redis a fire is on record and left to the reconciler', async () => {
  const away: Pick<Producer, 'addBatch'> = { addBatch: () => Promise.reject(new Error('Redis is away')) };
  const fire = createFire({ runs: runs(), producer: away, log: silentLogger });
  expect(await fire(job('cleanup.expire-stories'), new Date('2026-11-22T04:00:00Z'))).toBe('fired');
  expect(await rows('SELECT status FROM backhaul.jobs')).toEqual([{ status: 'queued' }]);
});

test('the view shows the next fires, soonest first, and the last one', async () => {
  const slot = new Date('2026-11-22T03:00:00Z');
  await createFire({ runs: runs(), producer, log: silentLogger })(job('cleanup.maintain-database'), slot);
  const { schedules: shown } = await createSchedulesView(schedules, () => runs().latest())();
  const firsts = shown.map((each) => each.next[0] ?? '');
  expect(firsts).toEqual(firsts.toSorted());
  const upkeep = shown.find((each) => each.job === 'cleanup.maintain-database');
  expect(upkeep).toMatchObject({ cron: '0 3 * * *', overridden: false, lastFired: slot.toISOString() });
  expect(upkeep?.next).toHaveLength(3);
  expect(upkeep?.next[0]).toMatch(/T03:00:00\.000Z$/);
});
