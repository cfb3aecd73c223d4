import { eventually } from '@backhaul/testing';
import { expect } from 'vitest';
import { createPushes } from './pushes.ts';
import type { World } from './world.ts';

/**
 * A steady stream of pushes before, while and after `fault` runs; in the end
 * every one of them must have reached its device, once.
 */
export async function through(world: World, fault: () => Promise<void>): Promise<void> {
  const before = (await world.jobs.summary()).length;
  expect(before).toBe(0);
  const pushes = createPushes(world);
  const stop = new AbortController();
  const load = pushes.stream(40, stop.signal);
  await world.fakes.waitFor((effect) => pushes.published.has(effect.key), 20_000, { service: 'fcm', kind: 'push' });
  await fault();
  // The load goes on after the fault: what is published then must get through as well.
  const enough = pushes.published.size + 40;
  await eventually(() => expect(pushes.published.size).toBeGreaterThanOrEqual(enough));
  stop.abort();
  await load;
  for (const messageId of pushes.published.values()) expect(await world.ended(messageId, 90_000)).toMatchObject({ status: 'done' });
  expect(await pushes.tally()).toEqual({ lost: 0, duplicated: 0 });
}
