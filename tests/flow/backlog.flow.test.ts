import { randomUUID } from 'node:crypto';
import { eventually, sharedStack } from '@backhaul/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createPushes } from './pushes.ts';
import { type World, createWorld } from './world.ts';

let world: World;

// Each has a world of its own: what the first leaves queued must not reach the second.
beforeEach(async () => {
  const stack = sharedStack();
  world = await createWorld(stack.env, stack.fakes);
});

afterEach(() => world.close());

test('B-17: 100,000 messages at start are taken over with bounded memory', async () => {
  const BACKLOG = 100_000;
  // Declares the queues, then leaves, so that the backlog builds up.
  await using fleet = await world.fleet({ services: ['bridge'], overrides: { bridge: { BRIDGE_HIGH_WATER: '1000000' } } });
  const bridge = fleet.get('bridge');
  await bridge.kill('SIGTERM');
  const body = { type: 'push', userId: randomUUID(), title: 'Backlog', body: 'one of many', fcmToken: 'token' };
  for (let sent = 0; sent < BACKLOG; sent += 1_000) await Promise.all(Array.from({ length: 1_000 }, () => world.publish('notification.push', body)));

  await bridge.restart();
  let peakBytes = 0;
  await eventually(
    async () => {
      const figures = (await (await fetch(`${bridge.url}/metrics/system`)).json()) as { memory: { rssBytes: number } };
      peakBytes = Math.max(peakBytes, figures.memory.rssBytes);
      const { rows } = await world.database.query<{ count: number }>('SELECT count(*)::int AS count FROM backhaul.jobs');
      expect(rows[0]?.count).toBe(BACKLOG);
    },
    { timeoutMs: 60_000, intervalMs: 50 },
  );
  // About 180 MiB for any backlog; taken in whole, the backlog needs more than twice this.
  expect(peakBytes).toBeLessThan(200 * 1024 * 1024);
  const producer = await world.producer();
  await eventually(async () => expect(await producer.depth('notification')).toBe(BACKLOG));
  await producer.close();
});

test('Above the high-water mark messages stay in RabbitMQ, and consuming resumes by itself', async () => {
  const producer = await world.producer();
  await using _fleet = await world.fleet({ services: ['bridge'], overrides: { bridge: { BRIDGE_HIGH_WATER: '200', BRIDGE_BATCH_SIZE: '20' } } });
  const pushes = createPushes(world);
  await pushes.publish(1_000);
  await eventually(async () => expect(await producer.depth('notification')).toBeGreaterThanOrEqual(200));
  // Prefetch bounds how far the mark can be passed: four batches under way and one in the buffer.
  expect(await producer.depth('notification')).toBeLessThanOrEqual(200 + 5 * 20);

  await using _worker = await world.fleet({ services: ['notification-worker'], overrides: { 'notification-worker': { NOTIFICATION_CONCURRENCY: '20' } } });
  expect(await world.allEnded(1_000)).toEqual([{ status: 'done', count: 1_000 }]);
  expect(await pushes.tally()).toEqual({ lost: 0, duplicated: 0 });
  await producer.close();
});
