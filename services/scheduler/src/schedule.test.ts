import { defineJob, defineQueue, exponential } from '@backhaul/queue/job';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ScheduledJob, createSchedules, latestSlot, slotOf } from './schedule.ts';

const queue = defineQueue({ name: 'cleanup', concurrency: 1, maxStalls: 1 });
const job = (name: string, cron: string): ScheduledJob =>
  ({
    ...defineJob({ name, queue, payload: z.object({}), priority: 1, timeoutMs: 1_000, retry: exponential({ attempts: 1, firstDelayMs: 1 }) }),
    schedule: { cron, payload: {} },
  }) as unknown as ScheduledJob;
const schedule = (cron: string) => {
  const [made] = createSchedules([job('cleanup.x', cron)], new Map());
  if (made === undefined) throw new Error('no schedule');
  return made;
};
const none = new Map<string, string>();

test('a slot is the minute that a moment lies in', () => {
  expect(slotOf(new Date('2026-11-22T03:00:59.999Z'))).toEqual(new Date('2026-11-22T03:00:00Z'));
});

test.each([
  ['0 3 * * *', '2026-11-22T04:30:12Z', '2026-11-22T03:00:00.000Z'],
  ['0 3 * * *', '2026-11-22T03:00:00Z', '2026-11-22T03:00:00.000Z'],
  ['*/15 * * * *', '2026-11-22T03:44:59Z', '2026-11-22T03:30:00.000Z'],
  ['0 5 * * 0', '2026-11-22T10:59:00Z', '2026-11-22T05:00:00.000Z'],
  // G-05: the leap day.
  ['0 0 29 2 *', '2028-02-29T01:00:00Z', '2028-02-29T00:00:00.000Z'],
])('the latest slot of %s at %s is %s', (cron, now, slot) => {
  expect(latestSlot(schedule(cron), new Date(now), 6 * 3_600_000)?.toISOString()).toBe(slot);
});

test('a slot older than the window is not caught up', () => {
  expect(latestSlot(schedule('0 3 * * *'), new Date('2026-11-22T09:00:01Z'), 6 * 3_600_000)).toBeUndefined();
  expect(latestSlot(schedule('0 5 * * 0'), new Date('2026-11-23T05:00:00Z'), 6 * 3_600_000)).toBeUndefined();
});

test('G-01: slots are UTC, whatever the clocks of the country do', () => {
  // Vienna's spring and autumn changes at 01:00 UTC, Lord Howe's half hour at 15:30 UTC the day before.
  const { matches } = schedule('*/30 * * * *');
  for (const day of ['2026-03-29', '2026-10-25', '2026-04-04', '2026-10-03']) {
    const start = Date.parse(`${day}T00:00:00Z`);
    const slots = Array.from({ length: 1_440 }, (_, minute) => new Date(start + minute * 60_000)).filter(matches);
    expect(slots).toHaveLength(48);
  }
});

test.each(['', '* * * *', '* * * * * *', '@hourly', '61 * * * *', '0 0 31 2 *', 'every minute please now ok', '0 0 13 * 5'])(
  'G-05: the expression "%s" is refused at the start',
  (cron) => {
    expect(() => createSchedules([job('cleanup.x', cron)], none)).toThrow(/cleanup\.x/);
  },
);

test('all problems are named at once', () => {
  const jobs = [job('cleanup.a', '0 99 * * *'), job('cleanup.b', '* * *'), job('cleanup.c', '0 0 * * *')];
  expect(() => createSchedules(jobs, new Map([['cleanup.z', 'off']]))).toThrow(
    /cleanup\.z: no scheduled job[\s\S]*cleanup\.a: "0 99 \* \* \*"[\s\S]*cleanup\.b/,
  );
});

test('an operator may move a schedule or switch it off', () => {
  const jobs = [job('cleanup.a', '0 1 * * *'), job('cleanup.b', '0 2 * * *'), job('cleanup.c', '0 3 * * *')];
  const made = createSchedules(
    jobs,
    new Map([
      ['cleanup.a', '30 4 * * 6'],
      ['cleanup.b', 'off'],
    ]),
  );
  expect(made.map(({ job: { name }, cron }) => [name, cron])).toEqual([
    ['cleanup.a', '30 4 * * 6'],
    ['cleanup.c', '0 3 * * *'],
  ]);
});
