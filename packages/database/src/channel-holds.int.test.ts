import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ChannelHolds, createChannelHolds } from './channel-holds.ts';

let world: TestDatabase;
let holds: ChannelHolds;
beforeAll(async () => {
  world = await testDatabase();
  holds = createChannelHolds(world.database);
});
afterAll(() => world.close());

const holdOf = async (channel: string) => (await holds.current()).find((hold) => hold.channel === channel);

test('Of two holds the longer one stays, whichever comes first', async () => {
  await holds.hold('push', 60_000, 'rate_limited');
  await holds.hold('push', 1_000, 'channel_unauthorized');
  const first = await holdOf('push');
  expect(first).toMatchObject({ reason: 'rate_limited' });
  expect(first?.forMs).toBeGreaterThan(50_000);
  expect(first?.forMs).toBeLessThanOrEqual(60_000);
  await holds.hold('push', 120_000, 'channel_unauthorized');
  const second = await holdOf('push');
  expect(second).toMatchObject({ reason: 'channel_unauthorized' });
  expect(second?.forMs).toBeGreaterThan(110_000);
  await Promise.all(Array.from({ length: 20 }, (_, index) => holds.hold('push', 200_000 + index, 'rate_limited')));
  expect(await holds.current()).toHaveLength(1);
});

test('A hold that is over is none, and the channel can be held again', async () => {
  await holds.hold('sms', -1, 'rate_limited');
  expect(await holdOf('sms')).toBeUndefined();
  await holds.hold('sms', 60_000, 'rate_limited');
  expect(await holdOf('sms')).toBeDefined();
  expect(await holdOf('email')).toBeUndefined();
});
