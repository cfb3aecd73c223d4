import { setTimeout as delay } from 'node:timers/promises';
import type { Producer } from '@backhaul/queue';
import { type Fleet, type Stack, eventually, startStack } from '@backhaul/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPushes } from './pushes.ts';
import { through } from './through.ts';
import { type World, createWorld } from './world.ts';

// A stack of its own: these tests stop its servers.
let stack: Stack;
let world: World;
let fleet: Fleet;
let producer: Producer;

beforeAll(async () => {
  stack = await startStack({ dir: `.backhaul/test-away-${process.pid}`, env: {} });
  world = await createWorld(stack.env, stack.fakes);
  producer = await world.producer();
  fleet = await world.fleet({ services: ['bridge', 'notification-worker'], overrides: { 'notification-worker': { NOTIFICATION_CONCURRENCY: '10' } } });
}, 120_000);

afterAll(async () => {
  await producer.close();
  await world.close();
  await stack.stop({ removeData: true });
});

describe('A-14: Redis away', () => {
  test.each([3, 7, 20])('for %i s: consumption resumes without a restart', async (seconds) => {
    await through(world, async () => {
      await stack.redis.kill();
      // The outage itself is the subject: this much time has to pass.
      await delay(seconds * 1_000);
      await stack.redis.start();
    });
  });

  test('A-15: restarted empty with a backlog, every recorded job is added again', async () => {
    const worker = fleet.get('notification-worker');
    await worker.kill('SIGTERM');
    const pushes = createPushes(world);
    await pushes.publish(300);
    await eventually(async () => expect(await producer.depth('notification')).toBe(300));
    await stack.redis.kill();
    await stack.redis.wipe();
    await stack.redis.start();
    await worker.restart();
    for (const messageId of pushes.published.values()) expect(await world.ended(messageId)).toMatchObject({ status: 'done' });
    expect(await pushes.tally()).toEqual({ lost: 0, duplicated: 0 });
  });
});

test('A-16: RabbitMQ killed and restarted: confirmed messages arrive, the bridge comes back', async () => {
  await through(world, async () => {
    await stack.rabbitmq.kill();
    await stack.rabbitmq.start();
  });
});

test('A-18: Postgres killed and restarted: nothing is acked meanwhile, nothing is lost', async () => {
  await through(world, async () => {
    await stack.postgres.kill();
    await stack.postgres.start();
  });
});

test('A-18: every Postgres connection terminated at once ends no process', async () => {
  await through(world, async () => {
    await world.database.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()');
  });
});

test('A-17: the queue deleted while it is consumed is declared again and consumed', async () => {
  const pushes = createPushes(world);
  await pushes.publish(5);
  for (const messageId of pushes.published.values()) await world.ended(messageId);
  await world.deleteWorkQueue('notification');
  // Until the bridge has bound it again a publisher is told that nobody takes the message.
  await eventually(() => pushes.publish(5));
  for (const messageId of [...pushes.published.values()].slice(-5)) expect(await world.ended(messageId)).toMatchObject({ status: 'done' });
});
