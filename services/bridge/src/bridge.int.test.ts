import { hash } from 'node:crypto';
import { createDeadLetters, createJobs } from '@backhaul/database';
import { events } from '@backhaul/events';
import { catalog } from '@backhaul/jobs';
import { silentLogger } from '@backhaul/runtime';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBridge } from './bridge.ts';

let world: TestDatabase;
beforeAll(async () => {
  world = await testDatabase();
});
afterAll(() => world.close());

/** Takes every body for a payload, also those that the real decoder would refuse: what it overlooks must not stop the bridge. */
function bridge(enqueued: string[]) {
  const event = events[0];
  return createBridge({
    queue: 'media',
    decode: ({ body, messageId = '' }) => ({
      ok: true,
      event,
      messageId,
      payload: {},
      payloadJson: body.toString(),
      bodyHash: hash('sha256', body, 'buffer'),
      traceparent: null,
    }),
    jobOf: () => catalog.byRoutingKey.get(event.routingKey),
    jobs: createJobs(world.database),
    deadLetters: createDeadLetters(world.database),
    producer: {
      addBatch: (_queue, jobs) => Promise.resolve(void enqueued.push(...jobs.map(({ messageId }) => messageId))),
      missing: () => Promise.resolve([]),
    },
    count: () => undefined,
    log: silentLogger,
    patienceMs: 2_000,
  });
}
const delivery = (messageId: string, body: string) => ({
  routingKey: 'media.image',
  body: Buffer.from(body),
  messageId,
  contentEncoding: undefined,
  redelivered: false,
  headers: {},
});

test('What Postgres refuses is found among its neighbours and buried alone', async () => {
  const enqueued: string[] = [];
  const refused = new Map([
    [3, '{"a":"\\u00"}'],
    [40, '{"a":'],
    [41, '{not json'],
    [99, '{"n":1e}'],
  ]);
  const batch = Array.from({ length: 100 }, (_, index) => delivery(`m${index}`, refused.get(index) ?? `{"n":${index}}`));

  expect(await bridge(enqueued)(batch)).toBe('ack');

  expect(enqueued).toHaveLength(96);
  const dead = await createDeadLetters(world.database).list({ limit: 10 });
  expect(dead.map(({ messageId }) => messageId).toSorted()).toEqual(['m3', 'm40', 'm41', 'm99']);
  for (const letter of dead) expect(letter).toMatchObject({ source: 'bridge', queue: 'media', reason: 'unstorable' });
});

test('Two bridges that take over the same messages at once make one job of each', async () => {
  const batch = Array.from({ length: 200 }, (_, index) => delivery(`twice-${index}`, '{"n":1}'));
  const enqueued: string[] = [];
  const verdicts = await Promise.all([bridge(enqueued)(batch), bridge(enqueued)(batch.toReversed())]);
  expect(verdicts).toEqual(['ack', 'ack']);
  const { rows } = await world.database.query<{ count: number }>(`SELECT count(*)::int AS count FROM backhaul.jobs WHERE message_id LIKE 'twice-%'`);
  expect(rows[0]?.count).toBe(200);
  expect(new Set(enqueued).size).toBe(200);
});
