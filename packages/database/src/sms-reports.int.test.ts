import { randomInt, randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEffects } from './effects.ts';
import { MIN_RETENTION_MS, pruneFinished } from './prune.ts';
import { type SmsGuard, createSmsGuard } from './sms-guard.ts';
import { type SmsReports, createSmsReports, smsStatuses } from './sms-reports.ts';

let world: TestDatabase;
let guard: SmsGuard;
let reports: SmsReports;
beforeAll(async () => {
  world = await testDatabase();
  guard = createSmsGuard(world.database);
  reports = createSmsReports(world.database);
});
afterAll(() => world.close());

const someNumber = () => `+49151${randomInt(10_000_000, 99_999_999)}`;
const someId = () => `SM${randomUUID().replaceAll('-', '')}`;
const says = (providerId: string, number: string, optsOut: boolean) => reports.keyword({ providerId, number, optsOut });
const plain = { errorCode: null, sendHash: null, optOut: null };

test('STOP and START take turns as often as the person likes, and a message that is repeated changes nothing', async () => {
  const number = someNumber();
  const [first, second] = [someId(), someId()];
  expect(await says(first, number, true)).toBe(true);
  expect(await guard.isOptedOut(number)).toBe(true);
  expect(await says(second, number, false)).toBe(true);
  expect(await guard.isOptedOut(number)).toBe(false);
  // Somebody who recorded the requests sends them again.
  expect(await says(first, number, true)).toBe(false);
  expect(await guard.isOptedOut(number)).toBe(false);
  expect(await says(someId(), number, true)).toBe(true);
  expect(await says(second, number, false)).toBe(false);
  expect(await guard.isOptedOut(number)).toBe(true);
  const { rows } = await world.database.query('SELECT * FROM backhaul.sms_keywords');
  expect(JSON.stringify(rows)).not.toContain(number.slice(3));
});

test('Whatever the order of the reports, a message ends where the furthest of them says, and an end stays', async () => {
  const rank = (status: string) => ['queued', 'sending', 'sent', 'delivered', 'read'].indexOf(status);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...smsStatuses), { minLength: 1, maxLength: 12 }), async (sequence) => {
      const providerId = someId();
      let model: string | undefined;
      for (const status of sequence) {
        const failed = ['undelivered', 'failed', 'canceled'].includes(status);
        const ended = model !== undefined && (rank(model) >= rank('delivered') || ['undelivered', 'failed', 'canceled'].includes(model));
        const news = model === undefined || (failed ? !ended : ['undelivered', 'failed', 'canceled'].includes(model) ? false : rank(status) > rank(model));
        expect(await reports.status({ providerId, status, ...plain })).toBe(news);
        if (news) model = status;
      }
      const { rows } = await world.database.query('SELECT status FROM backhaul.sms_statuses WHERE provider_id = $1', [providerId]);
      expect(rows).toEqual([{ status: model }]);
    }),
    { numRuns: 50 },
  );
});

test('A failure because of an opt-out notes it once: repeated after a START it does not undo it', async () => {
  const number = someNumber();
  const report = { providerId: someId(), status: 'failed', errorCode: 21_610, sendHash: null, optOut: number } as const;
  expect(await reports.status(report)).toBe(true);
  expect(await guard.isOptedOut(number)).toBe(true);
  await says(someId(), number, false);
  expect(await reports.status(report)).toBe(false);
  expect(await guard.isOptedOut(number)).toBe(false);
});

test('A report is found by its send, and beside the effect that it speaks of, whichever came first', async () => {
  const [providerId, sendHash] = [someId(), randomUUID().replaceAll('-', '')];
  expect(await reports.ofSend(sendHash)).toBeUndefined();
  await reports.status({ ...plain, providerId, status: 'undelivered', errorCode: 30_005, sendHash });
  expect(await reports.ofSend(sendHash)).toEqual({ providerId, status: 'undelivered', errorCode: 30_005, arrived: false, undelivered: true });
  const effects = createEffects(world.database);
  const messageId = randomUUID();
  const claim = await effects.claim(`sms:${messageId}`, { messageId, leaseMs: 60_000 });
  if (claim.state !== 'claimed') throw new Error(claim.state);
  expect(await effects.of(messageId)).toMatchObject([{ state: 'claimed', report: null }]);
  await effects.confirm(`sms:${messageId}`, claim.token, providerId);
  expect(await effects.of(messageId)).toMatchObject([{ state: 'confirmed', providerId, report: { status: 'undelivered', errorCode: 30_005 } }]);
});

test('Statuses are pruned, what people asked for is not', async () => {
  const [old, recent, stop] = [someId(), someId(), someId()];
  for (const providerId of [old, recent]) await reports.status({ ...plain, providerId, status: 'sent' });
  await says(stop, someNumber(), true);
  for (const table of ['sms_statuses', 'sms_keywords'])
    await world.database.query(`UPDATE backhaul.${table} SET created_at = now() - interval '1 year' WHERE provider_id <> $1`, [recent]);
  await world.database.query(`UPDATE backhaul.sms_statuses SET updated_at = created_at`);
  await pruneFinished(world.database, { olderThanMs: MIN_RETENTION_MS, batchSize: 2 });
  const ids = async (table: string) =>
    (await world.database.query<{ provider_id: string }>(`SELECT provider_id FROM backhaul.${table}`)).rows.map((row) => row.provider_id);
  expect(await ids('sms_statuses')).toEqual([recent]);
  expect(await ids('sms_keywords')).toContain(stop);
});
