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
  expect(await effects.claim(key, held)).toMatchObject({ state: 'confirmed', providerId: 'provider-1' });
  expect(await effects.confirm(key, tokenOf(claim), 'provider-2')).toBe(false);
});

test('One whose confirmation was written, and whose answer was lost, is found confirmed when it is confirmed once more', async () => {
  const keys = Array.from({ length: 3 }, () => randomUUID());
  const [mine = '', other = '', late = ''] = keys;
  const tokens = await Promise.all(keys.map(async (key) => tokenOf(await effects.claim(key, key === late ? over : held))));
  await effects.confirm(mine, tokens[0] ?? '', 'provider-1');
  await effects.claim(late, held);
  const again = await Promise.all(keys.map((key, index) => effects.confirm(key, tokens[index] ?? '', 'provider-1')));
  expect(again).toEqual([true, true, false]);
  expect(await effects.claim(other, held)).toMatchObject({ state: 'confirmed', providerId: 'provider-1' });
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

test('Claims of one turn share a statement, and each gets its own answer', async () => {
  const keys = Array.from({ length: 300 }, () => randomUUID());
  const [confirmed = '', busy = '', lost = '', unknown = ''] = keys;
  await effects.confirm(confirmed, tokenOf(await effects.claim(confirmed, held)), 'provider-1');
  await effects.claim(busy, held);
  await effects.claim(lost, over);
  await effects.giveUp(unknown, tokenOf(await effects.claim(unknown, held)), 'nobody knows');

  const claims = await Promise.all(keys.map((key) => effects.claim(key, held)));
  expect(claims.slice(0, 4).map(({ state }) => state)).toEqual(['confirmed', 'busy', 'ambiguous', 'unknown']);
  expect(new Set(claims.slice(4).map(({ state }) => state))).toEqual(new Set(['claimed']));

  const fresh = keys.slice(4).map((key, index) => ({ key, token: tokenOf(claims[index + 4] as EffectClaim) }));
  const answers = await Promise.all([
    ...fresh.slice(0, 100).map(({ key, token }) => effects.confirm(key, token, key)),
    effects.confirm(busy, randomUUID(), 'not mine'),
    ...fresh.slice(100, 200).map(({ key, token }) => effects.release(key, token)),
    ...fresh.slice(200).map(({ key, token }) => effects.giveUp(key, token, 'NUL \u0000')),
  ]);
  expect(answers.slice(0, 101)).toEqual([...Array.from({ length: 100 }, () => true), false]);
  const after = await Promise.all(fresh.map(({ key }) => effects.claim(key, held)));
  expect(after.slice(0, 100)).toMatchObject(fresh.slice(0, 100).map(({ key }) => ({ state: 'confirmed', providerId: key })));
  expect(new Set(after.slice(100, 200).map(({ state }) => state))).toEqual(new Set(['claimed']));
  expect(new Set(after.slice(200).map(({ state }) => state))).toEqual(new Set(['unknown']));
});

test('Those that are claimed together are answered in their order, whatever became of each before', async () => {
  // Not in the order of the keys, which is that of the statement.
  const keys = Array.from({ length: 8 }, () => randomUUID())
    .toSorted()
    .toReversed();
  const [fresh = '', confirmed = '', busy = '', another = '', lost = '', unknown = '', refused = ''] = keys;
  await effects.confirm(confirmed, tokenOf(await effects.claim(confirmed, held)), 'provider-1');
  await effects.claim(busy, held);
  await effects.claim(lost, over);
  await effects.giveUp(unknown, tokenOf(await effects.claim(unknown, held)), 'nobody knows');
  await effects.refuse(refused, tokenOf(await effects.claim(refused, held)), 'nobody there');

  const claims = await effects.claimAll(
    keys.map((key) => ({ key, messageId: `message of ${key}` })),
    { leaseMs: 60_000 },
  );
  expect(claims).toEqual([
    { state: 'claimed', token: expect.any(String) as string },
    { state: 'confirmed', providerId: 'provider-1', confirmedAt: expect.any(Date) as Date },
    { state: 'busy', leaseUntil: expect.any(Date) as Date },
    { state: 'claimed', token: expect.any(String) as string },
    { state: 'ambiguous', token: expect.any(String) as string, claimedAt: expect.any(Date) as Date },
    { state: 'unknown' },
    { state: 'refused', detail: 'nobody there' },
    { state: 'claimed', token: expect.any(String) as string },
  ]);
  // Each token is that of its own key.
  const mine = keys.flatMap((key, index) => {
    const claim = claims[index];
    return claim?.state === 'claimed' || claim?.state === 'ambiguous' ? [{ key, token: claim.token, providerId: `sent ${key}` }] : [];
  });
  expect(mine.map(({ key }) => key)).toEqual([fresh, another, lost, keys.at(-1)]);
  expect(await effects.confirmAll(mine)).toEqual([true, true, true, true]);
  for (const { key, providerId } of mine) expect(await effects.claim(key, held)).toMatchObject({ state: 'confirmed', providerId });
  expect(await effects.of(`message of ${fresh}`)).toMatchObject([{ key: fresh, state: 'confirmed', providerId: `sent ${fresh}` }]);
});

test('Those that nobody claimed before are claimed together, each with a token of its own, and are held from then on', async () => {
  const keys = Array.from({ length: 50 }, () => randomUUID());
  const asked = keys.map((key) => ({ key, messageId: 'm1' }));
  const tokens = (await effects.claimAll(asked, { leaseMs: 60_000 })).map(tokenOf);
  expect(new Set(tokens).size).toBe(50);
  expect(new Set((await effects.claimAll(asked.toReversed(), { leaseMs: 60_000 })).map(({ state }) => state))).toEqual(new Set(['busy']));
  expect(await Promise.all(keys.map((key, index) => effects.confirm(key, tokens[index] ?? '', null)))).toEqual(keys.map(() => true));
  expect(await effects.claimAll([], { leaseMs: 60_000 })).toEqual([]);
});

test('Of those that are confirmed together, one that another try took over meanwhile is said to be lost, and stays with that try', async () => {
  const keys = Array.from({ length: 3 }, () => randomUUID())
    .toSorted()
    .toReversed();
  const [, late = ''] = keys;
  const tokens = await Promise.all(keys.map(async (key) => tokenOf(await effects.claim(key, key === late ? over : held))));
  const taker = tokenOf(await effects.claim(late, held));
  const sent = keys.map((key, index) => ({ key, token: tokens[index] ?? '', providerId: `NUL \u0000 ${index}` }));
  expect(await effects.confirmAll(sent)).toEqual([true, false, true]);
  // Confirmed once more, because the answer was lost, they are answered the same.
  expect(await effects.confirmAll(sent)).toEqual([true, false, true]);
  expect(await effects.claim(keys[2] ?? '', held)).toMatchObject({ state: 'confirmed', providerId: 'NUL  2' });
  expect((await effects.claim(late, held)).state).toBe('busy');
  expect(await effects.confirm(late, taker, 'the other')).toBe(true);
  expect(await effects.confirmAll([])).toEqual([]);
});

test('Forty workers that claim the same hundred effects at once: one of them has each', async () => {
  const keys = Array.from({ length: 100 }, () => randomUUID());
  const pool = world.open({ poolSize: 10 });
  const workers = Array.from({ length: 40 }, () => createEffects(pool));
  const claims = await Promise.all(
    workers.map((worker, index) => Promise.all((index % 2 === 0 ? keys : keys.toReversed()).map((key) => worker.claim(key, held)))),
  );
  expect(claims.flat().filter(({ state }) => state === 'claimed')).toHaveLength(100);
  expect(claims.flat().filter(({ state }) => state === 'busy')).toHaveLength(3_900);
});

test('A way that is refused stays closed, also when what was confirmed turns out to have failed; a lost claim closes nothing', async () => {
  const [refused, disproved] = [randomUUID(), randomUUID()];
  const held = { messageId: randomUUID(), leaseMs: 60_000 };
  const token = tokenOf(await effects.claim(refused, held));
  expect(await effects.refuse(refused, randomUUID(), 'not ours')).toBe(false);
  expect(await effects.refuse(refused, token, 'nobody there')).toBe(true);
  expect(await effects.confirm(refused, token, 'id')).toBe(false);
  await effects.release(refused, token);
  expect(await effects.claim(refused, held)).toEqual({ state: 'refused', detail: 'nobody there' });

  await effects.disprove(disproved, 'there is no such effect');
  const other = tokenOf(await effects.claim(disproved, held));
  await effects.disprove(disproved, 'not while it is claimed');
  await effects.confirm(disproved, other, 'MM1');
  expect(await effects.claim(disproved, held)).toMatchObject({ state: 'confirmed', providerId: 'MM1', confirmedAt: expect.any(Date) as Date });
  await effects.disprove(disproved, 'undelivered');
  expect(await effects.claim(disproved, held)).toEqual({ state: 'refused', detail: 'undelivered' });
  expect(await effects.of(held.messageId)).toMatchObject([
    { key: refused, state: 'refused', detail: 'nobody there' },
    { key: disproved, state: 'refused', providerId: 'MM1', detail: 'undelivered' },
  ]);
});
