import { randomUUID } from 'node:crypto';
import { sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPushes } from './pushes.ts';
import { type World, createWorld } from './world.ts';

let world: World;

beforeAll(async () => {
  const stack = sharedStack();
  world = await createWorld(stack.env, stack.fakes);
});

afterAll(() => world.close());

test('A-01: killed ten times under load, the bridge loses nothing and nothing happens twice', async () => {
  await using fleet = await world.fleet({
    services: ['bridge', 'notification-worker'],
    overrides: { bridge: { BRIDGE_BATCH_SIZE: '20' }, 'notification-worker': { NOTIFICATION_CONCURRENCY: '20' } },
  });
  const bridge = fleet.get('bridge');
  const pushes = createPushes(world);
  for (let kill = 1; kill <= 10; kill += 1) {
    const before = pushes.published.size;
    const load = pushes.publish(150);
    // Killed while messages arrive: as soon as some of this round's are recorded.
    await world.allRecorded(before + 1 + Math.floor(Math.random() * 100));
    expect(await bridge.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    await load;
    await bridge.restart();
  }
  expect(await world.allEnded(1_500)).toEqual([{ status: 'done', count: 1_500 }]);
  expect(await pushes.tally()).toEqual({ lost: 0, duplicated: 0 });
});

describe('killed between two steps, the bridge takes up where it was', () => {
  test.each(['bridge.decoded', 'bridge.recorded', 'bridge.enqueued'])('A-02, A-03: dies at %s', async (failpoint) => {
    await using fleet = await world.fleet({
      services: ['bridge', 'notification-worker'],
      overrides: { bridge: { FAILPOINT: failpoint, BRIDGE_BATCH_SIZE: '10' } },
    });
    const bridge = fleet.get('bridge');
    const before = (await world.database.query('SELECT 1 FROM backhaul.jobs')).rowCount;
    const pushes = createPushes(world);
    await pushes.publish(30);
    expect(await bridge.exited).toEqual({ code: null, signal: 'SIGKILL' });
    await bridge.restart({ FAILPOINT: '' });
    await world.allEnded(before + pushes.published.size);
    expect(await pushes.tally()).toEqual({ lost: 0, duplicated: 0 });
  });

  test('A-03: recorded but never enqueued, and acked elsewhere, the reconciler enqueues it', async () => {
    await using _fleet = await world.fleet({ services: ['bridge', 'notification-worker'] });
    const fcmToken = `token-${randomUUID()}`;
    const messageId = randomUUID();
    await world.jobs.record([
      {
        messageId,
        queue: 'notification',
        name: 'notification.send-push',
        priority: 3,
        bodyHash: Buffer.alloc(32),
        payloadJson: JSON.stringify({ type: 'push', userId: randomUUID(), title: 'Late', body: 'but not lost', fcmToken }),
        traceparent: null,
      },
    ]);
    expect(await world.ended(messageId)).toMatchObject({ status: 'done' });
    expect(await world.fakes.effects({ service: 'fcm', kind: 'push', key: fcmToken })).toHaveLength(1);
  });
});

test('SIGTERM under load: the bridge settles what it holds and exits 0', async () => {
  await using fleet = await world.fleet({
    services: ['bridge', 'notification-worker'],
    overrides: { 'notification-worker': { NOTIFICATION_CONCURRENCY: '20' } },
  });
  const before = (await world.database.query('SELECT 1 FROM backhaul.jobs')).rowCount;
  const pushes = createPushes(world);
  const load = pushes.publish(300);
  await world.allRecorded(before + 20);
  expect(await fleet.get('bridge').kill('SIGTERM')).toEqual({ code: 0, signal: null });
  await load;
  await fleet.get('bridge').restart();
  await world.allEnded(before + pushes.published.size);
  expect(await pushes.tally()).toEqual({ lost: 0, duplicated: 0 });
});
