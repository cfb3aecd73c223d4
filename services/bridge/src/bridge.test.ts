import { defineEvent } from '@backhaul/broker/event';
import type { Delivery } from '@backhaul/broker';
import { DatabaseUnavailable, type NewJob, type PoisonMessage, type RecordOutcome } from '@backhaul/database';
import { createDecoder } from '@backhaul/events';
import { type JobDefinition, type JobReference, QueueUnavailable, defineJob, defineQueue } from '@backhaul/queue';
import { silentLogger } from '@backhaul/runtime';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { createBridge } from './bridge.ts';
import { createDeadQueueHandler } from './dead-queue.ts';

const payload = z.object({ type: z.literal('thing'), n: z.number(), note: z.string().optional() });
const thing = defineEvent({ routingKey: 'work.thing', data: payload, example: { type: 'thing', n: 1 } });
const other = defineEvent({ routingKey: 'work.other', data: payload, example: { type: 'thing', n: 1 } });
const orphan = defineEvent({ routingKey: 'work.orphan', data: z.object({ type: z.literal('orphan') }), example: { type: 'orphan' } });
const job = defineJob({
  name: 'work.do-thing',
  queue: defineQueue({ name: 'work', concurrency: 1, maxStalls: 1 }),
  payload,
  on: thing,
  priority: ({ n }) => n,
  travelsAlone: ({ note }) => note === 'travels alone',
  timeoutMs: 1_000,
  retry: { attempts: 1, firstDelayMs: 1 },
}) as unknown as JobDefinition;
const decode = createDecoder({ events: [thing, other, orphan] });

/** Postgres and Redis in memory, as the bridge sees them. */
function world(envelope = 1) {
  const recorded = new Map<string, NewJob & { finished: boolean }>();
  const dead: PoisonMessage[] = [];
  const enqueued: JobReference[] = [];
  const counts = new Map<string, number>();
  const steps: string[] = [];
  const down = { postgres: 0, redis: 0, deadLetters: 0, strange: 0 };
  const fails = (what: keyof typeof down) => down[what]-- > 0;
  const handle = createBridge({
    queue: 'work',
    decode,
    jobOf: (routingKey) => (routingKey === 'work.orphan' ? undefined : job),
    log: silentLogger,
    count: (routingKey, result, count) => void counts.set(`${routingKey} ${result}`, (counts.get(`${routingKey} ${result}`) ?? 0) + count),
    jobs: {
      record(batch) {
        steps.push('record');
        if (fails('postgres')) return Promise.reject(new DatabaseUnavailable(new Error('away')));
        if (fails('strange')) return Promise.reject(new Error('unforeseen'));
        return Promise.resolve(
          batch.map((each): RecordOutcome => {
            const known = recorded.get(each.messageId);
            if (known === undefined) recorded.set(each.messageId, { ...each, finished: false });
            else if (!known.bodyHash.equals(each.bodyHash)) return { state: 'conflict' };
            return known?.finished === true ? { state: 'finished' } : { state: 'open', carrier: (known ?? each).carrier ?? null };
          }),
        );
      },
    },
    envelopeOf: () => envelope,
    producer: {
      missing: (_queue, jobs) => Promise.resolve(jobs.filter(({ messageId }) => !enqueued.some((each) => each.messageId === messageId))),
      addBatch(_queue, jobs) {
        steps.push('enqueue');
        if (fails('redis')) return Promise.reject(new QueueUnavailable(new Error('away')));
        enqueued.push(...jobs);
        return Promise.resolve();
      },
    },
    deadLetters: {
      poison(messages) {
        steps.push('bury');
        if (fails('deadLetters')) return Promise.reject(new DatabaseUnavailable(new Error('away')));
        dead.push(...messages);
        return Promise.resolve();
      },
    },
  });
  return { handle, recorded, dead, enqueued, counts, steps, down };
}

function delivery(messageId: string, body: unknown = { n: 1 }, over: Partial<Delivery> = {}): Delivery {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return { routingKey: 'work.thing', body: bytes, messageId, contentEncoding: undefined, redelivered: false, headers: {}, ...over };
}

const ids = (jobs: readonly { messageId: string }[]) => jobs.map(({ messageId }) => messageId);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
async function verdict(running: Promise<string>): Promise<string> {
  const state = { over: false };
  void running.finally(() => (state.over = true));
  for (let passed = 0; !state.over && passed < 60_000; passed += 50) await vi.advanceTimersByTimeAsync(50);
  return running;
}

describe('A batch', () => {
  test('is recorded, then enqueued, then acked', async () => {
    const { handle, recorded, enqueued, steps, counts } = world();
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(await verdict(handle([delivery('a', { n: 3 }, { headers: { traceparent } }), delivery('b')]))).toBe('ack');
    expect(steps).toEqual(['record', 'enqueue']);
    expect(recorded.get('a')).toMatchObject({ queue: 'work', name: 'work.do-thing', priority: 3, payloadJson: '{"type":"thing","n":3}', traceparent });
    expect(enqueued).toMatchObject([{ messageId: 'a', name: 'work.do-thing', priority: 3, traceparent }, { messageId: 'b' }]);
    expect(counts).toEqual(new Map([['work.thing accepted', 2]]));
  });

  test('with poison in it: the poison is buried with its reason, its neighbours are enqueued, all of it is acked', async () => {
    const { handle, dead, enqueued, counts } = world();
    const batch = [
      delivery('a'),
      delivery('p1', 'no json'),
      delivery('p2', { n: 'text' }),
      delivery('p3', { n: 1 }, { routingKey: 'work.unknown' }),
      delivery('p4', { type: 'orphan' }, { routingKey: 'work.orphan' }),
      delivery('p5', '{"__proto__":1}'),
      delivery('p6', Buffer.alloc(300 * 1024, 'x')),
      delivery('z'),
    ];
    expect(await verdict(handle(batch))).toBe('ack');
    expect(ids(enqueued)).toEqual(['a', 'z']);
    expect(dead.map(({ messageId, reason }) => `${messageId} ${reason}`)).toEqual([
      'p1 invalid_json',
      'p2 schema',
      'p3 unknown_type',
      'p4 unknown_type',
      'p5 forbidden_key',
      'p6 too_large',
    ]);
    expect(dead[5]).toMatchObject({ queue: 'work', routingKey: 'work.thing', bodyBytes: 300 * 1024 });
    expect(dead[5]?.bodyHead).toHaveLength(8 * 1024);
    expect(counts.get('work.thing poison')).toBe(4);
  });

  test('of nothing but poison enqueues nothing', async () => {
    const { handle, enqueued, dead } = world();
    expect(await verdict(handle([delivery('p', 'x')]))).toBe('ack');
    expect(enqueued).toEqual([]);
    expect(dead).toHaveLength(1);
  });

  test('that comes again: what is open is enqueued again, what is finished is not (A-02, A-03)', async () => {
    const { handle, recorded, enqueued, counts } = world();
    await verdict(handle([delivery('open'), delivery('finished')]));
    Object.assign(recorded.get('finished') ?? {}, { finished: true });
    enqueued.length = 0;
    expect(await verdict(handle([delivery('open'), delivery('finished'), delivery('new')]))).toBe('ack');
    expect(ids(enqueued)).toEqual(['open', 'new']);
    expect(counts.get('work.thing repeated')).toBe(1);
  });

  test('travels in envelopes of one kind and priority each; what is odd travels alone', async () => {
    const { handle, recorded, enqueued } = world(3);
    await verdict(handle([delivery('a'), delivery('b'), delivery('urgent', { n: 9 }), delivery('c'), delivery('d')]));
    const carrier = recorded.get('a')?.carrier;
    expect(carrier).toMatch(/^e3-/);
    expect(enqueued.map((each) => [each.messageId, each.carrier])).toEqual([
      ['a', carrier],
      ['b', carrier],
      ['urgent', null],
      ['c', carrier],
      ['d', null],
    ]);
  });

  test('leaves what is too large to share out of the envelopes', async () => {
    const { handle, enqueued } = world(3);
    await verdict(handle([delivery('a'), delivery('large', { n: 1, note: 'travels alone' }), delivery('b')]));
    expect(enqueued.map((each) => [each.messageId, typeof each.carrier])).toEqual([
      ['a', 'string'],
      ['large', 'undefined'],
      ['b', 'string'],
    ]);
  });

  test('that comes again in other company: what its envelope carries already is not enqueued twice, what it lost is', async () => {
    const { handle, recorded, enqueued, down } = world(3);
    await verdict(handle([delivery('a'), delivery('b'), delivery('c')]));
    // The next envelope is recorded and never reaches Redis: the bridge dies.
    down.redis = 1_000;
    await verdict(handle([delivery('d'), delivery('e')]));
    down.redis = 0;
    enqueued.splice(0, enqueued.length, ...enqueued);
    const before = enqueued.length;
    await verdict(handle([delivery('b'), delivery('c'), delivery('d'), delivery('new')]));
    expect(enqueued.slice(before).map((each) => [each.messageId, each.carrier])).toEqual([
      ['new', recorded.get('new')?.carrier ?? null],
      ['d', null],
    ]);
  });

  test('of several kinds counts each repeat under its own routing key', async () => {
    const { handle, recorded, counts } = world();
    const batch = [delivery('new'), delivery('o1', { type: 'thing', n: 1 }, { routingKey: 'work.other' }), delivery('t1')];
    await verdict(handle(batch.slice(1)));
    for (const row of recorded.values()) row.finished = true;
    await verdict(handle(batch));
    expect(counts.get('work.other repeated')).toBe(1);
    expect(counts.get('work.thing repeated')).toBe(1);
  });

  test('with an id that another body has: the first counts, the other is a dead letter (C-09)', async () => {
    const { handle, recorded, dead, enqueued } = world();
    expect(await verdict(handle([delivery('a', { n: 1 }), delivery('a', { n: 2 }), delivery('b')]))).toBe('ack');
    expect(recorded.get('a')?.payloadJson).toContain('"n":1');
    expect(dead).toMatchObject([{ messageId: 'a', reason: 'id_conflict' }]);
    expect(ids(enqueued)).toEqual(['a', 'b']);
  });

  test('keeps its poison for bytes as they came, and a routing key that can be stored', async () => {
    const { handle, dead } = world();
    const body = Buffer.from([0, 255, 10]);
    await verdict(handle([delivery('p', body, { routingKey: 'work.\u0000x'.repeat(100) })]));
    expect(dead[0]?.bodyHead).toEqual(body);
    expect(dead[0]?.routingKey).not.toContain('\u0000');
    expect(dead[0]?.routingKey.length).toBeLessThanOrEqual(255);
  });
});

describe('While something is away', () => {
  test.each(['postgres', 'redis', 'deadLetters', 'strange'] as const)('(%s) a batch is tried again, and acked once it is settled', async (what) => {
    const { handle, enqueued, dead, down } = world();
    down[what] = 4;
    expect(await verdict(handle([delivery('a'), delivery('p', 'x')]))).toBe('ack');
    expect(new Set(ids(enqueued))).toEqual(new Set(['a']));
    expect(dead).toHaveLength(1);
  });

  test.each(['postgres', 'redis', 'deadLetters', 'strange'] as const)('(%s) for long, a batch is given back, and nothing is said to be done', async (what) => {
    const { handle, down, counts } = world();
    down[what] = Infinity;
    const startedAt = Date.now();
    expect(await verdict(handle([delivery('a'), delivery('p', 'x')]))).toBe('give_back');
    expect(Date.now() - startedAt).toBeLessThanOrEqual(10_100);
    expect(counts.size).toBe(0);
  });

  test('nothing is enqueued that is not recorded', async () => {
    const { handle, down, steps } = world();
    down.postgres = Infinity;
    await verdict(handle([delivery('a')]));
    expect(steps).not.toContain('enqueue');
  });
});

describe('What the broker gave up delivering', () => {
  test('is a dead letter of its queue, whatever it is', async () => {
    const dead: PoisonMessage[] = [];
    const handle = createDeadQueueHandler({ decode, log: silentLogger, deadLetters: { poison: (messages) => Promise.resolve(void dead.push(...messages)) } });
    expect(await handle([delivery('a'), delivery('b', 'no json'), delivery('c', {}, { routingKey: '' })])).toBe('ack');
    expect(dead.map(({ messageId, queue, reason }) => [messageId, queue, reason])).toEqual([
      ['a', 'work', 'delivery_limit'],
      ['b', 'work', 'delivery_limit'],
      ['c', '', 'delivery_limit'],
    ]);
  });

  test('stays on the broker while it cannot be stored (C-15)', async () => {
    const handle = createDeadQueueHandler({
      decode,
      log: silentLogger,
      deadLetters: { poison: () => Promise.reject(new DatabaseUnavailable(new Error('away'))) },
    });
    expect(await handle([delivery('a')])).toBe('give_back');
  });
});
