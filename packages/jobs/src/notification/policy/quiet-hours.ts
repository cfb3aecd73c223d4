/** A stretch of the day in which somebody wants to be left alone, by the clock on their wall. */
export interface QuietWindow {
  /** Minutes since midnight at which it starts, and before which it ends; an end before the start is on the next day. */
  readonly startMinute: number;
  readonly endMinute: number;
  /** The weekdays on which it starts: 1 is Monday, 7 Sunday. */
  readonly days: readonly number[];
  /** IANA name. */
  readonly timeZone: string;
}

const minuteMs = 60_000;
const dayMs = 86_400_000;
/** Windows that cover the whole week have no end; after a little more than a week that is certain. */
const horizonMs = 8 * dayMs;

/**
 * Whether any window holds at `now`, and until when: the first instant at
 * which the wall clock is outside of all of them. `until` is undefined when
 * that is more than a week away. Undefined when no window holds.
 *
 * The wall clock is asked, never computed with: where it is put forward the
 * end may be skipped, and then the window ends with the change; where it is
 * put back, an hour that lies in the window is quiet both times.
 */
export function quietAt(windows: readonly QuietWindow[], now: number): { readonly until: number | undefined } | undefined {
  if (remainingMs(windows, now) === 0) return undefined;
  let cursor = now;
  while (cursor - now <= horizonMs) {
    const leftMs = remainingMs(windows, cursor);
    if (leftMs === 0) return { until: cursor };
    cursor = firstChange(windows, cursor, cursor + leftMs) ?? cursor + leftMs;
  }
  return { until: undefined };
}

/** For how long the wall clock stays inside one of the windows, if it is not put forward or back meanwhile; 0 when it is outside of all. */
function remainingMs(windows: readonly QuietWindow[], instant: number): number {
  return windows.reduce((longest, window) => Math.max(longest, remainingOf(window, instant)), 0);
}

function remainingOf({ startMinute, endMinute, days, timeZone }: QuietWindow, instant: number): number {
  const wall = instant + offsetMs(timeZone, instant);
  const sinceMidnight = ((wall % dayMs) + dayMs) % dayMs;
  const start = startMinute * minuteMs;
  const end = endMinute * minuteMs;
  const today = weekday(wall);
  if (start < end) return days.includes(today) && sinceMidnight >= start && sinceMidnight < end ? end - sinceMidnight : 0;
  if (days.includes(today) && sinceMidnight >= start) return dayMs - sinceMidnight + end;
  return days.includes(today === 1 ? 7 : today - 1) && sinceMidnight < end ? end - sinceMidnight : 0;
}

/** 1 is Monday, 7 Sunday. */
function weekday(wall: number): number {
  // The epoch was a Thursday.
  return ((((Math.floor(wall / dayMs) + 3) % 7) + 7) % 7) + 1;
}

/** The first instant after `from`, up to `to`, at which one of the zones changes its offset. */
function firstChange(windows: readonly QuietWindow[], from: number, to: number): number | undefined {
  let first: number | undefined;
  for (const { timeZone } of windows) {
    const before = offsetMs(timeZone, from);
    let same = from;
    let changed = first ?? to;
    if (offsetMs(timeZone, changed) === before) continue;
    // To the millisecond, as fast as halving is: 27 steps for a day.
    while (changed - same > 1) {
      const middle = Math.floor((same + changed) / 2);
      if (offsetMs(timeZone, middle) === before) same = middle;
      else changed = middle;
    }
    first = changed;
  }
  return first;
}

/** Making one costs a hundred times what using it does. There are as many as there are zones. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** Whether this runtime knows the zone. */
export function isTimeZone(name: string): boolean {
  try {
    formatOf(name);
    return true;
  } catch {
    return false;
  }
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
    formats.set(timeZone, format);
  }
  return format;
}

/** How far the zone's clocks are ahead of UTC at this instant. */
function offsetMs(timeZone: string, instant: number): number {
  // "6/1/2026, GMT+05:30": a third of what the parts of a date cost.
  const [, sign, hours = '0', minutes = '0', seconds = '0'] = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(formatOf(timeZone).format(instant)) ?? [];
  const ahead = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000;
  return sign === '-' ? -ahead : ahead;
}
