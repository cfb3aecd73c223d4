import type { DeadLetter } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { expect, test } from 'vitest';
import { bodyOf } from './body.ts';
import { createReplay } from './replay.ts';

const letter: DeadLetter = {
  id: 7,
  messageId: 'm-7',
  source: 'bridge',
  queue: 'media',
  routingKey: 'media.image',
  name: null,
  reason: 'schema',
  error: { name: 'PoisonMessage', message: 's3Key: expected string' },
  bodyHead: Buffer.from('{"type":"image"}'),
  bodyBytes: 16,
  payload: null,
  history: null,
  attempts: 0,
  seen: 3,
  createdAt: new Date(0),
  retriedAt: null,
};

/** A replay whose surroundings write down what is asked of them, in order. */
function replayOf(found: Partial<DeadLetter> | undefined, broken: { redis?: Error; broker?: Error; alive?: boolean } = {}) {
  const calls: unknown[] = [];
  const note = (call: unknown, error?: Error) => {
    calls.push(call);
    return error === undefined ? Promise.resolve() : Promise.reject(error);
  };
  const job = { messageId: 'm-7', queue: 'media', name: 'media.process-image', priority: 2, traceparent: null };
  const replay = createReplay({
    deadLetters: {
      find: () => Promise.resolve(found === undefined ? undefined : { ...letter, ...found }),
      reopen: (id) => note(['reopen', id]).then(() => (broken.alive === true ? undefined : job)),
      markRetried: (id, seen) => note(['markRetried', id, seen]),
    },
    producer: () => Promise.resolve({ addBatch: (queue, jobs) => note(['addBatch', queue, jobs], broken.redis) }),
    publisher: () =>
      Promise.resolve({ publish: (message) => note(['publish', message.routingKey, message.messageId, message.body.toString()], broken.broker) }),
    log: silentLogger,
  });
  return { replay, calls, job };
}

test('a worker’s dead letter is opened in the record first and added to its queue then', async () => {
  const { replay, calls, job } = replayOf({ source: 'worker' });
  expect(await replay(7)).toEqual({ state: 'queued', messageId: 'm-7', queue: 'media', inRedis: true });
  expect(calls).toEqual([
    ['reopen', 7],
    ['addBatch', 'media', [job]],
  ]);
});

test('when Redis is away the job is open all the same, and the answer says that the reconciler adds it', async () => {
  const { replay } = replayOf({ source: 'worker' }, { redis: new Error('away') });
  expect(await replay(7)).toMatchObject({ state: 'queued', inRedis: false });
});

test('a bridge’s dead letter is published whole under its own message id, and noted as it was read', async () => {
  const { replay, calls } = replayOf({});
  expect(await replay(7)).toEqual({ state: 'published', messageId: 'm-7', routingKey: 'media.image' });
  expect(calls).toEqual([
    ['publish', 'media.image', 'm-7', '{"type":"image"}'],
    ['markRetried', 7, 3],
  ]);
});

test('when the broker does not take it, the dead letter stays open', async () => {
  const { replay, calls } = replayOf({}, { broker: new Error('no confirm') });
  await expect(replay(7)).rejects.toThrow('no confirm');
  expect(calls).toHaveLength(1);
});

test.each([
  ['not_found', undefined, {}],
  ['already_retried', { retriedAt: new Date(0) }, {}],
  ['not_dead', { source: 'worker' as const }, { alive: true }],
  ['body_truncated', { bodyBytes: 17 }, {}],
  ['body_truncated', { bodyHead: null }, {}],
  ['no_routing_key', { routingKey: '' }, {}],
  ['unroutable', {}, { broker: Object.assign(new Error('no queue'), { code: 'unroutable' }) }],
])('%s is refused, and nothing is noted as retried', async (code, found, broken) => {
  const { replay, calls } = replayOf(found, broken);
  await expect(replay(7)).rejects.toMatchObject({ name: 'ReplayRefused', code });
  expect(calls.filter((call) => (call as unknown[])[0] === 'markRetried')).toEqual([]);
});

test('a body that is no text is shown in Base64, and a cut one says so', () => {
  expect(bodyOf({ bodyHead: Buffer.from([0xff, 0xfe]), bodyBytes: 2 })).toEqual({ encoding: 'base64', content: '//4=', sizeBytes: 2, complete: true });
  expect(bodyOf({ bodyHead: Buffer.from('ab'), bodyBytes: 5 })).toMatchObject({ encoding: 'utf8', complete: false });
  expect(bodyOf({ bodyHead: null, bodyBytes: null })).toBeNull();
});
