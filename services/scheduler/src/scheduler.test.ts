import { defineJob, defineQueue, exponential } from '@backhaul/queue/job';
import { silentLogger } from '@backhaul/runtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { Fire } from './fire.ts';
import { type ScheduledJob, createSchedules } from './schedule.ts';
import { type Scheduler, type SchedulerOptions, startScheduler } from './scheduler.ts';

const queue = defineQueue({ name: 'cleanup', concurrency: 1, maxStalls: 1 });
const job = (name: string, cron: string): ScheduledJob =>
  ({
    ...defineJob({ name, queue, payload: z.object({}), priority: 1, timeoutMs: 1_000, retry: exponential({ attempts: 1, firstDelayMs: 1 }) }),
    schedule: { cron, payload: {} },
  }) as unknown as ScheduledJob;

const running: Scheduler[] = [];

/** A scheduler at a given moment; what it fired is in `fired` as `name time`. */
function startAt(now: string, jobs: Record<string, string>, options: Partial<SchedulerOptions> = {}) {
  vi.setSystemTime(new Date(now));
  const fired: string[] = [];
  const results: string[] = [];
  const fire: Fire = async (each, slot) => {
    fired.push(`${each.name} ${slot.toISOString().slice(0, 16)}`);
    return 'fired';
  };
  const scheduler = startScheduler({
    schedules: createSchedules(
      Object.entries(jobs).map(([name, cron]) => job(name, cron)),
      new Map(),
    ),
    fire,
    latest: async () => new Map(),
    catchUpMs: 0,
    log: silentLogger,
    onFire: (_name, result) => void results.push(result),
    ...options,
  });
  running.push(scheduler);
  return { scheduler, fired, results };
}

const minutes = (count: number) => vi.advanceTimersByTimeAsync(count * 60_000);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(async () => {
  const closing = running.splice(0).map((scheduler) => scheduler.close());
  await vi.advanceTimersByTimeAsync(10);
  await Promise.all(closing);
  vi.useRealTimers();
});

test('fires each schedule at its slots', async () => {
  const { fired } = startAt('2026-11-22T02:50:30Z', { a: '0 3 * * *', b: '*/15 * * * *' });
  await minutes(30);
  expect(fired.toSorted()).toEqual(['a 2026-11-22T03:00', 'b 2026-11-22T03:00', 'b 2026-11-22T03:15']);
});

test('G-01: through the changes to and from summer time, one fire per slot', async () => {
  const { fired } = startAt('2026-10-24T23:59:30Z', { a: '*/30 * * * *' });
  await minutes(24 * 60);
  expect(fired).toHaveLength(48);
  expect(new Set(fired).size).toBe(48);
});

test('G-02: at the start the latest missed slot of each schedule is fired, once', async () => {
  const { fired } = startAt(
    '2026-11-22T06:07:00Z',
    { hourly: '0 * * * *', daily: '0 3 * * *', sunday: '0 5 * * 0', monday: '0 5 * * 1' },
    { catchUpMs: 6 * 3_600_000 },
  );
  await vi.advanceTimersByTimeAsync(1_000);
  expect(fired.toSorted()).toEqual(['daily 2026-11-22T03:00', 'hourly 2026-11-22T06:00', 'sunday 2026-11-22T05:00']);
});

test('what is on record as fired is not caught up', async () => {
  const latest = async () => new Map([['hourly', new Date('2026-11-22T06:00:00Z')]]);
  const { fired } = startAt('2026-11-22T06:07:00Z', { hourly: '0 * * * *' }, { catchUpMs: 6 * 3_600_000, latest });
  await minutes(1);
  expect(fired).toEqual([]);
});

test('a fire that fails is tried again until it succeeds', async () => {
  let failures = 3;
  const slots: string[] = [];
  const fire: Fire = async (_job, slot) => {
    failures -= 1;
    if (failures >= 0) throw new Error('the database is away');
    slots.push(slot.toISOString());
    return 'fired';
  };
  const { results } = startAt('2026-11-22T02:59:30Z', { a: '0 3 * * *' }, { fire });
  await minutes(2);
  expect(slots).toEqual(['2026-11-22T03:00:00.000Z']);
  expect(results).toEqual(['failed', 'failed', 'failed', 'fired']);
});

test('after an outage only the latest missed slot is fired', async () => {
  let away = true;
  const slots: string[] = [];
  const fire: Fire = async (_job, slot) => {
    if (away) throw new Error('the database is away');
    slots.push(slot.toISOString().slice(11, 16));
    return 'fired';
  };
  startAt('2026-11-22T02:59:30Z', { a: '*/5 * * * *' }, { fire });
  await minutes(17);
  away = false;
  await minutes(1);
  expect(slots).toEqual(['03:15']);
});

test('of the slots that a suspended machine missed, the latest is fired', async () => {
  const { fired } = startAt('2026-11-22T02:59:30Z', { a: '*/5 * * * *' });
  await minutes(1);
  vi.setSystemTime(new Date('2026-11-22T05:02:00Z'));
  await minutes(6);
  // The timer of 03:05 goes off at 05:06, and finds 25 slots gone by.
  expect(fired).toEqual(['a 2026-11-22T03:00', 'a 2026-11-22T05:05']);
});

test('a schedule whose slot passed without a fire is reported as wedged', async () => {
  const { scheduler } = startAt('2026-11-22T02:59:30Z', { a: '0 3 * * *' });
  expect(scheduler.wedged()).toBeUndefined();
  // The clock goes on, the timers do not: what a blocked or broken timer looks like.
  vi.setSystemTime(new Date('2026-11-22T03:06:00Z'));
  expect(scheduler.wedged()).toMatch(/^a was due at 2026-11-22T03:00/);
});

test('after close nothing fires, also not what waits for its next try', async () => {
  const { scheduler, results } = startAt('2026-11-22T02:59:30Z', { a: '* * * * *' }, { fire: () => Promise.reject(new Error('away')) });
  await minutes(1);
  const before = results.length;
  expect(before).toBeGreaterThan(0);
  const closing = scheduler.close();
  await vi.advanceTimersByTimeAsync(10);
  await closing;
  await minutes(10);
  expect(results).toHaveLength(before);
});
