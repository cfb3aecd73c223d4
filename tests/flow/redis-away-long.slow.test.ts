import { setTimeout as delay } from 'node:timers/promises';
import { type Stack, startStack } from '@backhaul/testing';
import { afterAll, beforeAll, test } from 'vitest';
import { through } from './through.ts';
import { type World, createWorld } from './world.ts';

// A stack of its own: this test stops its Redis.
let stack: Stack;
let world: World;

beforeAll(async () => {
  stack = await startStack({ dir: `.backhaul/test-away-long-${process.pid}`, env: {} });
  world = await createWorld(stack.env, stack.fakes);
  await world.fleet({ services: ['bridge', 'notification-worker'], overrides: { 'notification-worker': { NOTIFICATION_CONCURRENCY: '10' } } });
});

afterAll(async () => {
  await world.close();
  await stack.stop({ removeData: true });
});

test('A-14: Redis away for 120 s: consumption resumes without a restart', async () => {
  await through(world, async () => {
    await stack.redis.kill();
    // The outage itself is the subject: this much time has to pass.
    await delay(120_000);
    await stack.redis.start();
  });
});
