import { createChannelHolds } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { eventually } from '@backhaul/testing';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSharedBrake } from './shared-brake.ts';

let world: TestDatabase;
beforeAll(async () => {
  world = await testDatabase();
});
afterAll(() => world.close());
beforeEach(() => world.database.query('DELETE FROM backhaul.channel_holds'));

/** The brake of one worker; `statements` counts what it asks Postgres, and `away` makes Postgres refuse. */
function worker() {
  const state = { statements: 0, away: false };
  const database = {
    ...world.database,
    query: <Row extends object>(...args: Parameters<typeof world.database.query>) => {
      state.statements += 1;
      return state.away ? Promise.reject(new Error('connection refused')) : world.database.query<Row>(...args);
    },
  };
  return { ...createSharedBrake({ holds: createChannelHolds(database), log: silentLogger }), state };
}

test('what one worker is told all of them heed: itself at once, the others within a second or so', async () => {
  const [one, other] = [worker(), worker()];
  expect([await one.held('push'), await other.held('push')]).toEqual([undefined, undefined]);
  await one.hold('push', 30_000, 'rate_limited');
  expect(await one.held('push')).toMatchObject({ reason: 'rate_limited' });
  await eventually(async () => expect(await other.held('push')).toMatchObject({ reason: 'rate_limited' }), { timeoutMs: 3_000 });
  expect((await other.held('push'))?.forMs).toBeLessThanOrEqual(30_000);
  expect(await other.held('email')).toBeUndefined();
});

test('a hold counts in the worker that was told before Postgres has it, and without Postgres', async () => {
  const one = worker();
  await one.held('push');
  const holding = one.hold('push', 30_000, 'rate_limited');
  expect(await one.held('push')).toBeDefined();
  await holding;
  one.state.away = true;
  await one.hold('sms', 30_000, 'channel_unauthorized');
  expect(await one.held('sms')).toMatchObject({ reason: 'channel_unauthorized' });
});

test('ten thousand questions within a second cost one statement, and two hundred refusals one hold', async () => {
  const one = worker();
  await Promise.all(Array.from({ length: 10_000 }, () => one.held('push')));
  expect(one.state.statements).toBe(1);
  await Promise.all(Array.from({ length: 200 }, () => one.hold('push', 30_000, 'rate_limited')));
  // Written once, read once.
  expect(one.state.statements).toBe(3);
});

test('a hold ends by itself, and at once when an operator deletes its row', async () => {
  const one = worker();
  await one.hold('push', 300, 'rate_limited');
  await eventually(async () => expect(await one.held('push')).toBeUndefined(), { timeoutMs: 3_000 });
  await one.hold('push', 3_600_000, 'rate_limited');
  await world.database.query('DELETE FROM backhaul.channel_holds');
  await eventually(async () => expect(await one.held('push')).toBeUndefined(), { timeoutMs: 3_000 });
});

test('without Postgres nothing is said to be free', async () => {
  const one = worker();
  one.state.away = true;
  await expect(one.held('push')).rejects.toThrow('connection refused');
  one.state.away = false;
  expect(await one.held('push')).toBeUndefined();
});
