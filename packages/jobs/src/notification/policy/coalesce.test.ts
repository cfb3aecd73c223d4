import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CoalesceSettings, type Gathering, close, offer } from './coalesce.ts';

const settings = { quietMs: 5_000, maxWaitMs: 30_000 };

/** How a message ended: announced with this many at this time by this one. */
interface End {
  readonly by: string;
  readonly count: number;
  readonly at: number;
}

interface Run {
  readonly id: string;
  readonly at: number;
}

/**
 * Lets messages come at these times, each with a job that asks when it comes
 * and whenever it was told to. `lagMs` delays each run, `crashes` makes runs
 * ask twice, `voided` are taken back before the end.
 */
function simulate(
  arrivals: readonly number[],
  { quietMs, maxWaitMs }: CoalesceSettings,
  { lagMs = () => 0, crashes = () => false, voided = new Set<string>() }: { lagMs?: () => number; crashes?: () => boolean; voided?: ReadonlySet<string> } = {},
) {
  let state: Gathering<null> | undefined;
  let largest = 0;
  const ends = new Map<string, End>();
  const dropped = new Set<string>();
  const runs: Run[] = arrivals.map((at, index) => ({ id: `m${index}`, at }));
  for (let steps = 0; runs.length > 0; steps += 1) {
    if (steps > 100_000) throw new Error('the messages do not end');
    runs.sort((left, right) => left.at - right.at);
    const [{ id, at }] = runs.splice(0, 1) as [Run];
    // What the record knows is not asked again; what was taken back is decided before.
    if (ends.has(id)) continue;
    const settledBefore = state?.pending.some((each) => each.id === id) === true || arrivals[Number(id.slice(1))] !== at;
    if (voided.has(id) && settledBefore) {
      dropped.add(id);
      continue;
    }
    const asked = offer(state, { id, about: null }, { quietMs, maxWaitMs }, at);
    state = asked.state;
    largest = Math.max(largest, state.pending.length);
    if (crashes()) runs.push({ id, at: at + 1 });
    switch (asked.answer.as) {
      case 'alone':
        ends.set(id, { by: id, count: 1, at });
        break;
      case 'gathered':
        runs.push({ id, at: at + asked.answer.waitMs + lagMs() });
        break;
      case 'due': {
        const closed = close(state, id, voided, at);
        state = closed.state;
        for (const each of closed.announced) {
          if (ends.has(each)) throw new Error(`${each} is announced twice`);
          ends.set(each, { by: id, count: closed.announced.length, at });
        }
      }
    }
  }
  return { ends, dropped, largest };
}

const someSettings = fc.record({ quietMs: fc.integer({ min: 1, max: 10_000 }), maxWaitMs: fc.integer({ min: 1, max: 60_000 }) });
const someArrivals = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 15_000 })), { maxLength: 150 })
  .map((gaps) => gaps.reduce<number[]>((times, gap) => [...times, (times.at(-1) ?? 0) + gap], []));

test('every message is announced by itself or counted in exactly one summary, and none waits longer than the maximum', () => {
  fc.assert(
    fc.property(
      someArrivals,
      someSettings,
      fc.infiniteStream(fc.integer({ min: 0, max: 200 })),
      fc.infiniteStream(fc.boolean()),
      (arrivals, how, lags, crashes) => {
        const lagMs = () => (lags.next() as { value: number }).value;
        const crash = () => (crashes.next() as { value: boolean }).value;
        const { ends, largest } = simulate(arrivals, how, { lagMs, crashes: crash });
        expect(ends.size).toBe(arrivals.length);
        const counted = new Map<string, number>();
        for (const { by } of ends.values()) counted.set(by, (counted.get(by) ?? 0) + 1);
        for (const [id, { by, count, at }] of ends) {
          // The summary says how many it stands for, and stands for itself.
          expect(counted.get(by)).toBe(count);
          expect(ends.get(by)?.by).toBe(by);
          // A run comes as late as the queue lets it.
          expect(at - (arrivals[Number(id.slice(1))] ?? 0)).toBeLessThanOrEqual(how.maxWaitMs + 200);
          expect(count).toBeLessThanOrEqual(100);
        }
        expect(largest).toBeLessThanOrEqual(100);
      },
    ),
    { numRuns: 300 },
  );
}, 60_000);

test('what was taken back while it waited is in no summary, and everything else still ends once', () => {
  fc.assert(
    fc.property(someArrivals, someSettings, fc.infiniteStream(fc.boolean()), (arrivals, how, coin) => {
      const voided = new Set(arrivals.flatMap((_, index) => ((coin.next() as { value: boolean }).value ? [`m${index}`] : [])));
      const { ends, dropped } = simulate(arrivals, how, { voided });
      for (const id of dropped) expect(ends.has(id)).toBe(false);
      expect(ends.size + dropped.size).toBe(arrivals.length);
      // Nothing is taken back before it was asked about once: whatever ends by
      // that first asking may announce others, but nobody counts it later.
      for (const [id, { by, at }] of ends) if (voided.has(id)) expect({ by, at }).toEqual({ by: id, at: arrivals[Number(id.slice(1))] });
    }),
    { numRuns: 300 },
  );
}, 60_000);

test('a message that comes just when the others have waited long enough announces them, though it is taken back later', () => {
  const { ends } = simulate([0, 0, 1], { quietMs: 1, maxWaitMs: 1 }, { voided: new Set(['m0', 'm2']) });
  expect(ends.get('m1')).toEqual({ by: 'm2', count: 2, at: 1 });
});

test('the first message of a quiet chat is announced at once, those that follow when the chat is quiet again', () => {
  const { ends } = simulate([0, 1_000, 2_000, 3_000], settings);
  expect([...ends.values()]).toEqual([
    { by: 'm0', count: 1, at: 0 },
    { by: 'm3', count: 3, at: 8_000 },
    { by: 'm3', count: 3, at: 8_000 },
    { by: 'm3', count: 3, at: 8_000 },
  ]);
});

test('a chat that is never quiet is announced after the longest wait, and a single message that was gathered by itself', () => {
  const { ends } = simulate(
    Array.from({ length: 40 }, (_, index) => index * 1_000),
    settings,
  );
  expect(ends.get('m1')).toEqual({ by: 'm31', count: 31, at: 31_000 });
  expect(simulate([0, 4_999], settings).ends.get('m1')).toEqual({ by: 'm1', count: 1, at: 9_999 });
  expect(simulate([0, 5_000], settings).ends.get('m1')).toEqual({ by: 'm1', count: 1, at: 5_000 });
});

test('a hundred are announced at once', () => {
  const { ends } = simulate(
    Array.from({ length: 150 }, (_, index) => index),
    settings,
  );
  expect(ends.get('m100')).toMatchObject({ by: 'm100', count: 100, at: 100 });
  expect(ends.get('m149')).toMatchObject({ count: 49 });
});
