import { randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEffects } from './effects.ts';
import { type MailGuard, createMailGuard, createMailSuppressions } from './mail-guard.ts';

let world: TestDatabase;
let guard: MailGuard;
beforeAll(async () => {
  world = await testDatabase();
  guard = createMailGuard(world.database);
});
afterAll(() => world.close());

test('A suppressed address stays so, in capitals as well, and the table does not hold it', async () => {
  const name = `ann-${randomUUID()}`;
  expect(await guard.isSuppressed(`${name}@example.com`)).toBe(false);
  await guard.suppress(`${name}@example.com`, { reason: 'hard_bounce', code: '5.1.1' });
  await guard.suppress(`${name}@example.com`, { reason: 'manual' });
  expect(await guard.isSuppressed(`${name.toUpperCase()}@example.com`)).toBe(true);
  expect(await guard.isSuppressed(`other-${name}@example.com`)).toBe(false);
  const { rows } = await world.database.query('SELECT * FROM backhaul.mail_suppressions');
  expect(rows).toMatchObject([{ masked_address: 'a…@example.com', reason: 'hard_bounce', code: '5.1.1' }]);
  expect(JSON.stringify(rows)).not.toContain(name);
});

test('The list is read a page at a time, the newest first, or for one address; what is removed may be mailed again', async () => {
  const suppressions = createMailSuppressions(world.database);
  const mark = randomUUID();
  const added = [];
  for (const index of [0, 1, 2]) added.push(await suppressions.add(`${index}-${mark}@example.org`, { reason: 'complaint' }));
  const [first] = await suppressions.list({ limit: 1 });
  expect(first?.id).toBe(added[2]?.id);
  expect((await suppressions.list({ limit: 2, afterId: first?.id })).map(({ id }) => id)).toEqual([added[1]?.id, added[0]?.id]);
  expect(await suppressions.list({ limit: 10, address: `1-${mark}@EXAMPLE.org` })).toMatchObject([{ id: added[1]?.id, maskedAddress: '1…@example.org' }]);
  expect(await suppressions.remove(added[1]?.id ?? '')).toBe(true);
  expect(await suppressions.remove(added[1]?.id ?? '')).toBe(false);
  expect(await guard.isSuppressed(`1-${mark}@example.org`)).toBe(false);
});

test('Twenty workers at the same moment share the limit; each of the others has a place of its own, and keeps it', async () => {
  const ids = Array.from({ length: 20 }, () => randomUUID());
  const take = (id: string) => guard.take(id, { perMinute: 60, waits: true });
  const taken = await Promise.all(ids.map(take));
  const allowed = taken.filter((each) => each.allowed);
  // A moment's wait is none: those whose place is within five seconds leave.
  expect(allowed.length).toBeGreaterThanOrEqual(4);
  expect(allowed.length).toBeLessThanOrEqual(6);
  const waits = taken.filter((each) => !each.allowed).map(({ retryAfterMs }) => retryAfterMs);
  expect(new Set(waits.map((ms) => Math.round(ms / 1_000))).size).toBe(waits.length);
  const last = ids[taken.findIndex(({ retryAfterMs }) => retryAfterMs === Math.max(...waits))] ?? '';
  const again = await take(last);
  expect(again.allowed).toBe(false);
  expect(again.retryAfterMs).toBeLessThanOrEqual(Math.max(...waits));
  // One that does not wait leaves in front of them.
  expect(await guard.take(randomUUID(), { perMinute: 60, waits: false })).toEqual({ allowed: true, retryAfterMs: 0 });
  // Its time comes: the place is used up.
  await world.database.query(`UPDATE backhaul.mail_slots SET due_at = now() WHERE message_id = $1`, [last]);
  await world.database.query(`UPDATE backhaul.mail_limits SET pace_at = now()`);
  expect(await take(last)).toEqual({ allowed: true, retryAfterMs: 0 });
  expect((await take(last)).allowed).toBe(false);
});

test('Mails of one envelope get each its own answer', async () => {
  const mark = randomUUID();
  await guard.suppress(`3-${mark}@example.com`, { reason: 'hard_bounce', code: '5.1.1' });
  const asked = await Promise.all([1, 2, 3, 3, 4].map((index) => guard.isSuppressed(`${index}-${mark}@example.com`)));
  expect(asked).toEqual([false, false, true, true, false]);
  const effects = createEffects(world.database);
  const keys = [1, 2, 3].map((index) => `email:${mark}:${index}`);
  await Promise.all(keys.slice(1).map((key) => effects.claim(key, { messageId: mark, leaseMs: 60_000 })));
  expect(await Promise.all(keys.map((key, index) => guard.note(key, `provider-${index}`)))).toEqual([false, true, true]);
  expect(await Promise.all(keys.map((key) => guard.noted(key)))).toEqual([undefined, 'provider-1', 'provider-2']);
});

test('The provider of a claimed send is noted; once the claim is settled nothing is noted any more', async () => {
  const effects = createEffects(world.database);
  const key = `email:${randomUUID()}`;
  expect(await guard.note(key, 'smtp')).toBe(false);
  const claim = await effects.claim(key, { messageId: 'm-1', leaseMs: 60_000 });
  if (claim.state !== 'claimed') throw new Error(claim.state);
  expect(await guard.noted(key)).toBeUndefined();
  expect(await guard.note(key, 'smtp')).toBe(true);
  expect(await guard.note(key, 'resend')).toBe(true);
  expect(await guard.noted(key)).toBe('resend');
  await effects.confirm(key, claim.token, 'id');
  expect(await guard.note(key, 'smtp')).toBe(false);
  expect(await guard.noted(key)).toBe('resend');
});
