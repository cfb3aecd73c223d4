import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type MailLine, takePlace } from './mail-line.ts';

const MINUTE_MS = 60_000;
const empty: MailLine = { nextMs: 0, lateMs: 0, paceMs: 0 };

/** Plays mails that come at some times, and come back when they were told, each with some delay. */
function play(arrivals: readonly { atMs: number; latenessMs: number }[], perMinute: number) {
  let line = empty;
  const left: number[] = [];
  let asked = 0;
  const waiting = arrivals.map(({ atMs, latenessMs }) => ({ atMs, latenessMs, slotMs: undefined as number | undefined }));
  for (let guard = arrivals.length * 1_000; waiting.length > 0 && guard > 0; guard -= 1) {
    waiting.sort((a, b) => a.atMs - b.atMs);
    const [mail] = waiting.splice(0, 1);
    if (mail === undefined) break;
    asked += 1;
    const placed = takePlace(line, { nowMs: mail.atMs, slotMs: mail.slotMs, waits: true, perMinute });
    line = placed.line;
    if (placed.slotMs === undefined) left.push(mail.atMs);
    else waiting.push({ ...mail, slotMs: placed.slotMs, atMs: Math.max(placed.slotMs, mail.atMs + 1) + mail.latenessMs });
  }
  return { left, asked };
}

const mostWithinAMinute = (times: readonly number[]) =>
  Math.max(0, ...times.map((from) => times.filter((time) => time >= from && time < from + MINUTE_MS).length));

test('Within no minute do more mails leave than the limit, however late each comes to its place; and all of them leave', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.record({ atMs: fc.integer({ min: 0, max: 300_000 }), latenessMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 120_000 })) }), {
        maxLength: 60,
      }),
      (perMinute, arrivals) => {
        const { left } = play(arrivals, perMinute);
        expect(left).toHaveLength(arrivals.length);
        expect(mostWithinAMinute(left)).toBeLessThanOrEqual(perMinute);
      },
    ),
    { numRuns: 300 },
  );
});

test('Who comes to its place in time leaves: a thousand at once ask at most twice each', () => {
  const { left, asked } = play(
    Array.from({ length: 1_000 }, () => ({ atMs: 0, latenessMs: 40 })),
    120,
  );
  expect(asked).toBeLessThanOrEqual(2_000);
  // 120 a minute, less the room for those who come late.
  expect((left.at(-1) ?? 0) / MINUTE_MS).toBeLessThan((1_000 / 120) * 1.1);
});

test('After an hour in which nobody came for his place there is no flood', () => {
  const { left } = play(
    Array.from({ length: 300 }, (_, index) => ({ atMs: 0, latenessMs: index < 200 ? 3_600_000 : 0 })),
    30,
  );
  expect(left).toHaveLength(300);
  expect(mostWithinAMinute(left)).toBeLessThanOrEqual(30);
});

test('Without a line a mail leaves at once, and one that does not wait moves the line on', () => {
  const asking = { nowMs: 1_000, slotMs: undefined, perMinute: 1 };
  const first = takePlace(empty, { ...asking, waits: true });
  expect(first.slotMs).toBeUndefined();
  expect(takePlace(first.line, { ...asking, waits: true }).slotMs).toBe(66_000);
  const urgent = takePlace(first.line, { ...asking, waits: false });
  expect(urgent.slotMs).toBeUndefined();
  expect(takePlace(urgent.line, { ...asking, waits: true }).slotMs).toBe(131_000);
});
