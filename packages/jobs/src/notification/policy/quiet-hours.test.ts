import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type QuietWindow, isTimeZone, quietAt } from './quiet-hours.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const everyDay = [1, 2, 3, 4, 5, 6, 7];
const zones = Intl.supportedValuesOf('timeZone');
/** A year in which clocks are put forward and back, of which the rules are known. */
const year = { start: Date.UTC(2026, 0, 1), end: Date.UTC(2027, 0, 1) };

/** What the wall clock shows, by another way than the code's: weekday and time as text. */
const clocks = new Map<string, Intl.DateTimeFormat>();
function wall(timeZone: string, instant: number): { day: number; minute: number } {
  const clock = clocks.get(timeZone) ?? new Intl.DateTimeFormat('en-GB', { timeZone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  clocks.set(timeZone, clock);
  const [, weekday = '', hour = '', minute = ''] = /(\w{3}),? (\d\d):(\d\d)/.exec(clock.format(instant)) ?? [];
  return { day: ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'].indexOf(weekday) + 1, minute: Number(hour) * 60 + Number(minute) };
}

function insideByTheWall({ startMinute, endMinute, days, timeZone }: QuietWindow, instant: number): boolean {
  const { day, minute } = wall(timeZone, instant);
  if (startMinute < endMinute) return days.includes(day) && minute >= startMinute && minute < endMinute;
  return (days.includes(day) && minute >= startMinute) || (days.includes(day === 1 ? 7 : day - 1) && minute < endMinute);
}

/** The first outside minute after `instant`, minute by minute. */
function firstOutside(windows: readonly QuietWindow[], instant: number): number {
  let at = Math.floor(instant / minuteMs) * minuteMs;
  while (windows.some((window) => insideByTheWall(window, at))) at += minuteMs;
  return at;
}

const window = (change: Partial<QuietWindow> = {}): QuietWindow => ({
  startMinute: 22 * 60,
  endMinute: 7 * 60,
  days: everyDay,
  timeZone: 'Europe/Berlin',
  ...change,
});
const iso = (instant: number | undefined) => (instant === undefined ? undefined : new Date(instant).toISOString());

test('in every zone and every hour of a year it is quiet if, and only if, the wall clock is inside', () => {
  for (const timeZone of differentZones()) {
    const windows = [window({ timeZone, days: [1, 2, 3, 4, 5] })];
    for (let instant = year.start; instant < year.end; instant += hourMs) {
      if ((quietAt(windows, instant) !== undefined) !== windows.some((each) => insideByTheWall(each, instant))) expect.fail(`${timeZone} at ${iso(instant)}`);
    }
  }
}, 60_000);

test('in every zone the end is the first instant outside, around every change of its clocks', () => {
  for (const timeZone of differentZones()) {
    for (const change of changesOf(timeZone)) {
      // Windows that begin or end within what is skipped or doubled, and around it.
      for (const [startMinute, endMinute] of [
        [22 * 60, 2 * 60 + 30],
        [30, 2 * 60],
        [90, 23 * 60],
        [23 * 60 + 45, 15],
      ] as const) {
        const windows = [window({ timeZone, startMinute, endMinute })];
        for (let at = change - 3 * hourMs; at <= change + 3 * hourMs; at += 30 * minuteMs) {
          const quiet = quietAt(windows, at);
          if (quiet === undefined) continue;
          if (quiet.until !== firstOutside(windows, at)) expect.fail(`${timeZone} at ${iso(at)}: ${iso(quiet.until)}`);
        }
      }
    }
  }
}, 60_000);

test('whatever the windows and the moment, the end is the first minute outside of all', () => {
  const someWindow = fc.record({
    startMinute: fc.integer({ min: 0, max: 1_439 }),
    endMinute: fc.integer({ min: 0, max: 1_439 }),
    days: fc.subarray(everyDay),
    timeZone: fc.constantFrom(...zones),
  });
  fc.assert(
    fc.property(fc.array(someWindow, { maxLength: 3 }), fc.integer({ min: year.start, max: year.end }), (windows, instant) => {
      const quiet = quietAt(windows, instant);
      expect(quiet !== undefined).toBe(windows.some((each) => insideByTheWall(each, instant)));
      expect(quietAt(windows, instant)).toEqual(quiet);
      if (quiet?.until === undefined) return;
      expect(quiet.until).toBe(firstOutside(windows, instant));
      expect(quietAt(windows, quiet.until)).toBeUndefined();
      expect(quietAt(windows, quiet.until - 1)).toBeDefined();
    }),
    { numRuns: 1_500 },
  );
}, 60_000);

test('where the hour of the end is skipped, the quiet ends when the clocks are put forward', () => {
  // Berlin, 29 March 2026: 02:00 is followed by 03:00, at 01:00 UTC.
  const quiet = quietAt([window({ endMinute: 2 * 60 + 30 })], Date.UTC(2026, 2, 28, 23));
  expect(iso(quiet?.until)).toBe('2026-03-29T01:00:00.000Z');
});

test('where an hour comes twice it is quiet both times, without an end in between', () => {
  // Berlin, 25 October 2026: 03:00 is followed by 02:00, at 01:00 UTC.
  const quiet = quietAt([window()], Date.UTC(2026, 9, 24, 21));
  expect(iso(quiet?.until)).toBe('2026-10-25T06:00:00.000Z');
  expect(iso(quietAt([window({ endMinute: 3 * 60 })], Date.UTC(2026, 9, 24, 21))?.until)).toBe('2026-10-25T02:00:00.000Z');
});

test('windows that follow one another have one end, and those that cover the week none', () => {
  const night = window({ timeZone: 'UTC' });
  const morning = window({ timeZone: 'UTC', startMinute: 7 * 60, endMinute: 9 * 60 });
  expect(iso(quietAt([night, morning], Date.UTC(2026, 5, 1, 23))?.until)).toBe('2026-06-02T09:00:00.000Z');
  expect(quietAt([window({ startMinute: 60, endMinute: 60 })], Date.UTC(2026, 5, 1))).toEqual({ until: undefined });
  expect(quietAt([], Date.UTC(2026, 5, 1))).toBeUndefined();
});

test('a window is of the day on which it starts', () => {
  const saturdays = [window({ timeZone: 'UTC', days: [6] })];
  // 6 June 2026 is a Saturday.
  expect(quietAt(saturdays, Date.UTC(2026, 5, 6, 3))).toBeUndefined();
  expect(iso(quietAt(saturdays, Date.UTC(2026, 5, 6, 22))?.until)).toBe('2026-06-07T07:00:00.000Z');
  expect(quietAt(saturdays, Date.UTC(2026, 5, 7, 3))).toBeDefined();
  expect(quietAt(saturdays, Date.UTC(2026, 5, 7, 22))).toBeUndefined();
});

test('zones are known by their IANA names', () => {
  expect(['Europe/Kyiv', 'America/Argentina/Ushuaia', 'UTC'].every(isTimeZone)).toBe(true);
  expect(['Mars/Olympus', '', 'Europe/'].some(isTimeZone)).toBe(false);
});

/** How far the wall clock is ahead of UTC, in minutes, modulo a week. */
function ahead(timeZone: string, at: number): number {
  const { day, minute } = wall(timeZone, at);
  return (((day * 1_440 + minute - Math.floor(at / minuteMs)) % 10_080) + 10_080) % 10_080;
}

/** The moments of the year at which the zone's clocks are changed. */
function changesOf(timeZone: string): number[] {
  const changes: number[] = [];
  for (let day = year.start; day < year.end; day += 24 * hourMs) {
    if (ahead(timeZone, day) === ahead(timeZone, day + 24 * hourMs)) continue;
    for (let at = day; at < day + 24 * hourMs; at += 15 * minuteMs) {
      if (ahead(timeZone, at) !== ahead(timeZone, at + 15 * minuteMs)) changes.push(at + 15 * minuteMs);
    }
  }
  return changes;
}

/** One of all zones whose clocks show the same throughout the year: all of them are looked at, none twice. */
function differentZones(): string[] {
  const byClock = new Map(zones.map((timeZone) => [JSON.stringify([year.start, ...changesOf(timeZone)].map((at) => [at, ahead(timeZone, at)])), timeZone]));
  return [...byClock.values()];
}
