/** The line in which mails wait for the dispatch limit. Times are milliseconds of one clock. */
export interface MailLine {
  /** The next place for one who comes now. */
  readonly nextMs: number;
  /** The next place for one whose own passed, or was taken by one who was late. */
  readonly lateMs: number;
  /** When the mail after the last one may leave. */
  readonly paceMs: number;
}

/** One mail that asks whether it may leave. */
export interface Asking {
  readonly nowMs: number;
  /** Its place, if it was given one. */
  readonly slotMs: number | undefined;
  /** False for one that is not held up: it leaves, and the others wait longer. */
  readonly waits: boolean;
  readonly perMinute: number;
}

const MINUTE_MS = 60_000;

/** How far ahead of its time a mail may leave: who comes a moment early, or behind one who was late, is not sent away again. */
const TOLERANCE_MS = 5_000;

/**
 * Lets a mail leave, or gives it a place. Those that wait come back when it is
 * their turn, one by one, instead of all of them every minute; and what
 * decides is when mails have really left, so that an idle hour with forgotten
 * places is followed by no flood.
 *
 * Within any minute at most `perMinute` mails leave that had to wait: mails
 * are spaced for a minute and the tolerance.
 *
 * @returns the line as it is now; `slotMs` undefined: the mail may leave
 */
export function takePlace(line: MailLine, { nowMs, slotMs, waits, perMinute }: Asking): { line: MailLine; slotMs: number | undefined } {
  const spacingMs = (MINUTE_MS + TOLERANCE_MS) / perMinute;
  const left = { ...line, paceMs: Math.max(line.paceMs, nowMs) + spacingMs };
  if (!waits) return { line: { ...left, nextMs: Math.max(line.nextMs, nowMs) + spacingMs }, slotMs: undefined };
  const isInTime = line.paceMs <= nowMs + TOLERANCE_MS;
  if (slotMs === undefined) {
    const dueMs = Math.max(line.nextMs, nowMs);
    // Nobody waits: the place is now. A moment's wait is no reason to come again.
    if (isInTime && dueMs <= nowMs + TOLERANCE_MS) return { line: { ...left, nextMs: dueMs + spacingMs }, slotMs: undefined };
    const placeMs = Math.max(dueMs, line.paceMs);
    return { line: { ...line, nextMs: placeMs + spacingMs }, slotMs: placeMs };
  }
  if (slotMs > nowMs + TOLERANCE_MS) return { line, slotMs };
  if (isInTime) return { line: left, slotMs: undefined };
  const placeMs = Math.max(line.lateMs, line.paceMs, nowMs);
  return { line: { ...line, lateMs: placeMs + spacingMs }, slotMs: placeMs };
}
