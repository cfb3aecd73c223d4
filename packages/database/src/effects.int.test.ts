import { randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EffectClaim, type Effects, createEffects } from './effects.ts';

let world: TestDatabase;
let effects: Effects;
beforeAll(async () => {
  world = await testDatabase();
  effects = createEffects(world.database);
});
afterAll(() => world.close());

const held = { messageId: 'm1', leaseMs: 60_000 };
/** A lease that is over as soon as it is given. */
const over = { messageId: 'm1', leaseMs: -1_000 };

function tokenOf(claim: EffectClaim): string {
  if (claim.state !== 'claimed' && claim.state !== 'ambiguous') throw new Error(`the claim is ${claim.state}`);
  return claim.token;
}

test('An effect is claimed, confirmed, and never claimed again', async () => {
  const key = randomUUID();
  const claim = await effects.claim(key, held);
  expect(claim.state).toBe('claimed');
  expect(await effects.confirm(key, tokenOf(claim), 'provider-1')).toBe(true);
  expect(await effects.claim(key, held)).toEqual({ state: 'confirmed', providerId: 'provider-1' });
  expect(await effects.confirm(key, tokenOf(claim), 'provider-2')).toBe(false);
});

test('One that was certainly not made can be claimed afresh', async () => {
  const key = randomUUID();
  await effects.release(key, tokenOf(await effects.claim(key, held)));
  expect((await effects.claim(key, held)).state).toBe('claimed');
});

test('Another worker waits until the lease is over, and then is told that it is ambiguous', async () => {
  const key = randomUUID();
  await effects.claim(key, held);
  expect(await effects.claim(key, held)).toMatchObject({ state: 'busy', leaseUntil: expect.any(Date) as Date });
  const late = randomUUID();
  const first = await effects.claim(late, over);
  const second = await effects.claim(late, held);
  expect(second.state).toBe('ambiguous');
  // The first worker wakes up: its token is worth nothing any more.
  expect(await effects.confirm(late, tokenOf(first), 'x')).toBe(false);
  await effects.release(late, tokenOf(first));
  await effects.giveUp(late, tokenOf(first), 'x');
  expect((await effects.claim(late, held)).state).toBe('busy');
  expect(await effects.confirm(late, tokenOf(second), null)).toBe(true);
});

test('One that was given up as unknown stays so', async () => {
  const key = randomUUID();
  await effects.giveUp(key, tokenOf(await effects.claim(key, over)), 'no answer after DATA');
  expect(await effects.claim(key, held)).toEqual({ state: 'unknown' });
  const messageId = randomUUID();
  const other = randomUUID();
  await effects.giveUp(other, tokenOf(await effects.claim(other, { messageId, leaseMs: 1 })), 'no answer after DATA');
  expect(await effects.of(messageId)).toMatchObject([{ key: other, state: 'unknown', detail: 'no answer after DATA' }]);
});

test.each([
  ['a new effect', false, 'claimed'],
  ['an effect whose lease is over', true, 'ambiguous'],
])('Of twenty workers that claim %s at once, one wins', async (_what, taken, winner) => {
  const pool = createEffects(world.open({ poolSize: 10 }));
  for (let round = 0; round < 5; round += 1) {
    const key = randomUUID();
    if (taken) await effects.claim(key, over);
    const states = (await Promise.all(Array.from({ length: 20 }, () => pool.claim(key, held)))).map((claim) => claim.state);
    expect(states.filter((state) => state === winner)).toHaveLength(1);
    expect(states.filter((state) => state === 'busy')).toHaveLength(19);
  }
});
