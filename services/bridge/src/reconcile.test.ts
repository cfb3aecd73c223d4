import type { OpenJob } from '@backhaul/database';
import type { JobReference } from '@backhaul/queue';
import { silentLogger } from '@backhaul/runtime';
import { describe, expect, test } from 'vitest';
import { createGate, createPressure } from './gate.ts';
import { reconcile } from './reconcile.ts';

/** The record and Redis in memory, as the reconciler sees them. */
function world(open: readonly string[], inRedis: readonly string[], envelope = 1) {
  const jobs = new Map(
    open.toSorted().map((messageId): [string, OpenJob] => [
      messageId,
      {
        messageId,
        queue: messageId.startsWith('c') ? 'cleanup' : 'media',
        name: 'x',
        priority: 1,
        traceparent: null,
        carrier: messageId.startsWith('alone') ? null : 'e9-lost',
      },
    ]),
  );
  const redis = new Set(inRedis);
  const added: { queue: string; messageId: string }[] = [];
  const carriers = new Map<string, string | null | undefined>();
  const finishedMeanwhile = new Set<string>();
  const state = { away: false };
  const run = (signal = new AbortController().signal) =>
    reconcile(
      {
        jobs: {
          idle: ({ after, limit }) => Promise.resolve([...jobs.values()].filter((job) => job.messageId > after).slice(0, limit)),
          carry: (batch) => Promise.resolve(new Set(batch.map(({ messageId }) => messageId).filter((id) => !finishedMeanwhile.has(id)))),
        },
        producer: {
          redis: undefined as never,
          missing: (_queue, batch) =>
            state.away ? Promise.reject(new Error('Redis is away')) : Promise.resolve(batch.filter(({ messageId }) => !redis.has(messageId))),
          addBatch: (queue, batch: readonly JobReference[]) => {
            for (const { messageId, carrier } of batch) {
              added.push({ queue, messageId });
              carriers.set(messageId, carrier);
            }
            return Promise.resolve();
          },
        },
        envelopeOf: () => envelope,
        onAdded: () => undefined,
      },
      30_000,
      signal,
    );
  return { run, added, carriers, finishedMeanwhile, state };
}

describe('Reconciling', () => {
  test('adds what is open and missing, to its own queue, and nothing else', async () => {
    const { run, added, finishedMeanwhile } = world(['m1', 'm2', 'm3', 'c1'], ['m1']);
    finishedMeanwhile.add('m2');
    expect(await run()).toBe(2);
    expect(added).toEqual([
      { queue: 'cleanup', messageId: 'c1' },
      { queue: 'media', messageId: 'm3' },
    ]);
  });

  test('puts what was lost into new envelopes, and tells the record of them before Redis', async () => {
    const { run, carriers } = world(['m1', 'm2', 'm3', 'm4', 'alone1', 'alone2'], ['m1'], 2);
    expect(await run()).toBe(5);
    expect(carriers.get('m2')).toMatch(/^e2-/);
    expect(carriers.get('m3')).toBe(carriers.get('m2'));
    expect(carriers.get('m4')).toBe(null);
    expect([carriers.get('alone1'), carriers.get('alone2')]).toEqual([null, null]);
  });

  test('walks all pages', async () => {
    const ids = Array.from({ length: 2_500 }, (_, index) => `m${String(index).padStart(5, '0')}`);
    const { run, added } = world(ids, ids.slice(0, 100));
    expect(await run()).toBe(2_400);
    expect(new Set(added.map(({ messageId }) => messageId)).size).toBe(2_400);
  });

  test('adds nothing when Redis cannot be asked, or when it is stopped', async () => {
    const away = world(['m1'], []);
    away.state.away = true;
    await expect(away.run()).rejects.toThrow('Redis is away');
    expect(away.added).toEqual([]);
    const stopped = world(['m1'], []);
    expect(await stopped.run(AbortSignal.abort())).toBe(0);
  });
});

describe('The high-water mark', () => {
  test('stops at the mark and goes on below four fifths of it', async () => {
    const depths = [99, 100, 85, 80, 79, 99];
    const left = [...depths];
    const pressure = createPressure({ depth: () => Promise.resolve(left.shift() ?? 0), seenDepth: () => undefined }, 'media', 100);
    const answers: boolean[] = [];
    for (const _depth of depths) answers.push((await pressure()) !== undefined);
    expect(answers).toEqual([false, true, true, true, false, false]);
  });

  test('takes the depth that the latest batch told, and asks while stopped', async () => {
    let asked = 0;
    const seen = [50, 100, 10];
    const producer = {
      seenDepth: () => seen.shift(),
      depth: () => {
        asked += 1;
        return Promise.resolve(90);
      },
    };
    const pressure = createPressure(producer, 'media', 100);
    expect([await pressure(), (await pressure()) !== undefined, asked]).toEqual([undefined, true, 0]);
    expect([(await pressure()) !== undefined, asked]).toEqual([true, 1]);
  });

  test('that cannot be asked for is a failure, not "go on"', async () => {
    await expect(createPressure({ depth: () => Promise.reject(new Error('away')), seenDepth: () => undefined }, 'media', 100)()).rejects.toThrow('away');
  });
});

describe('The gate', () => {
  type Query = () => Promise<{ rows: { readOnly: string }[]; rowCount: number }>;
  const writable: Query = () => Promise.resolve({ rows: [{ readOnly: 'off' }], rowCount: 1 });
  const gate = (query: Query, probe: () => Promise<void>) =>
    createGate({ query } as Parameters<typeof createGate>[0], { probe }, silentLogger)(new AbortController().signal);

  test('opens once Postgres and Redis both answer', async () => {
    let failures = 2;
    await gate(
      () => (failures-- > 0 ? Promise.reject(new Error('away')) : writable()),
      () => Promise.resolve(),
    );
    expect(failures).toBeLessThan(0);
  });

  test('stays shut while Postgres takes no writes: each batch would only be given back, until the delivery limit', async () => {
    const answers = ['on', 'on', 'off'];
    await gate(
      () => Promise.resolve({ rows: [{ readOnly: answers.shift() ?? 'off' }], rowCount: 1 }),
      () => Promise.resolve(),
    );
    expect(answers).toEqual([]);
  });

  test('stays shut while Redis takes no writes', async () => {
    let refusals = 2;
    await gate(writable, () => (refusals-- > 0 ? Promise.reject(new Error('OOM command not allowed')) : Promise.resolve()));
    expect(refusals).toBeLessThan(0);
  });

  test('opens at once for a stop', async () => {
    const stop = new AbortController();
    const away = () => Promise.reject(new Error('away'));
    const waiting = createGate({ query: away } as Parameters<typeof createGate>[0], { probe: away }, silentLogger)(stop.signal);
    stop.abort();
    await waiting;
  });
});
