import { randomUUID } from 'node:crypto';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDeadLetters } from './dead-letters.ts';
import { createEffects } from './effects.ts';
import { type EmailQueue, createEmailQueue } from './email-queue.ts';
import { type JobLedger, createJobLedger } from './job-ledger.ts';
import { createJobs } from './jobs.ts';
import { createMailGuard } from './mail-guard.ts';
import { newJob } from './test-jobs.ts';

let world: TestDatabase;
let queue: EmailQueue;
let ledger: JobLedger;
beforeAll(async () => {
  world = await testDatabase();
  queue = createEmailQueue(world.database);
  ledger = createJobLedger(world.database);
});
afterAll(() => world.close());

async function accept(changes: object = {}, name = 'notification.send-email'): Promise<string> {
  const payloadJson = JSON.stringify({ type: 'email', userId: 'u', title: 'secret words', body: 'secret words', email: 'ann.secret@example.com', ...changes });
  const job = newJob({ queue: 'notification', name, payloadJson });
  await createJobs(world.database).record([job]);
  return job.messageId;
}
const failure = { name: 'ProviderUnavailable', code: 'provider_unavailable', message: 'the provider did not take the message: no answer' };
const row = async (messageId: string) => (await queue.list({ limit: 500 })).find((each) => each.messageId === messageId);

test('A mail is pending, retrying, sent or failed as its record says, and shows nothing of its words', async () => {
  const pending = await accept({ template: 'otp' });
  expect(await row(pending)).toMatchObject({
    recipient: 'a…@example.com',
    template: 'otp',
    status: 'pending',
    attempts: 0,
    error: null,
    failedAfterRetries: false,
    provider: null,
  });

  const sent = await accept();
  await ledger.start(sent, 'w');
  expect(await row(sent)).toMatchObject({ status: 'pending', attempts: 1 });
  const effects = createEffects(world.database);
  const claim = await effects.claim(`email:${sent}`, { messageId: sent, leaseMs: 60_000 });
  if (claim.state !== 'claimed') throw new Error(claim.state);
  await createMailGuard(world.database).note(`email:${sent}`, 'smtp');
  await effects.confirm(`email:${sent}`, claim.token, '<1@example.com>');
  await ledger.finish(sent, 1, { status: 'done', result: { channel: 'email' } });
  expect(await row(sent)).toMatchObject({ status: 'sent', provider: 'smtp', providerId: '<1@example.com>', error: null });

  const retrying = await accept();
  await ledger.start(retrying, 'w');
  await ledger.retry(retrying, 1, { error: failure, delayMs: 5_000 });
  expect(await row(retrying)).toMatchObject({
    status: 'retrying',
    attempts: 1,
    error: 'provider_unavailable',
    failedAfterRetries: false,
    nextAttemptAt: expect.any(Date) as Date,
  });
  await ledger.start(retrying, 'w');
  expect(await row(retrying)).toMatchObject({ status: 'retrying', attempts: 2 });
  await ledger.bury(retrying, 2, { reason: 'provider_unavailable', error: failure });
  expect(await row(retrying)).toMatchObject({ status: 'failed', attempts: 2, error: 'provider_unavailable', failedAfterRetries: true });

  const postponed = await accept();
  await ledger.start(postponed, 'w');
  await ledger.postpone(postponed, 1, { code: 'greylisted', message: 'later', delayMs: 300_000 });
  expect(await row(postponed)).toMatchObject({ status: 'retrying', error: 'greylisted' });

  const refused = await accept();
  await ledger.start(refused, 'w');
  await ledger.bury(refused, 1, { reason: 'mailbox_refused', error: { name: 'PermanentFailure', code: 'mailbox_refused', message: 'no such mailbox' } });
  expect(await row(refused)).toMatchObject({ status: 'failed', error: 'mailbox_refused', failedAfterRetries: false });

  const suppressed = await accept();
  await ledger.start(suppressed, 'w');
  await ledger.finish(suppressed, 1, { status: 'skipped', result: { reason: 'suppressed' } });
  expect(await row(suppressed)).toMatchObject({ status: 'skipped', error: 'suppressed' });

  const text = await accept({}, 'notification.send-sms');
  expect(await row(text)).toBeUndefined();
  expect(JSON.stringify(await queue.list({ limit: 500 }))).not.toContain('secret');
});

test('A mail that never became a job, or whose job was pruned, is a failed one until it is tried again', async () => {
  const poison = randomUUID();
  await createDeadLetters(world.database).poison([
    {
      messageId: poison,
      queue: 'notification',
      routingKey: 'notification.email',
      reason: 'schema',
      message: 'title: expected string',
      bodyHead: Buffer.from('{'),
      bodyBytes: 1,
      bodyHash: Buffer.alloc(32),
    },
  ]);
  expect(await row(poison)).toMatchObject({ status: 'failed', error: 'schema', recipient: null, attempts: 0 });
  const pruned = await accept();
  await ledger.start(pruned, 'w');
  await ledger.bury(pruned, 1, { reason: 'mailbox_refused', error: failure });
  await world.database.query('DELETE FROM backhaul.jobs WHERE message_id = $1', [pruned]);
  expect(await row(pruned)).toMatchObject({ status: 'failed', error: 'mailbox_refused', recipient: 'a…@example.com' });
  await world.database.query('UPDATE backhaul.dead_letters SET retried_at = now() WHERE message_id = ANY ($1)', [[poison, pruned]]);
  expect([await row(poison), await row(pruned)]).toEqual([undefined, undefined]);
});

test('Pages follow each other without gap or repetition, and a status is a filter', async () => {
  for (let count = 0; count < 7; count += 1) await accept();
  const all = await queue.list({ limit: 500 });
  const walked = [];
  for (let after: string | undefined; ;) {
    const page = await queue.list({ limit: 3, after });
    walked.push(...page.map(({ messageId }) => messageId));
    if (page.length < 3) break;
    after = page.at(-1)?.messageId;
  }
  expect(walked).toEqual(all.map(({ messageId }) => messageId));
  expect((await queue.list({ limit: 500, status: 'sent' })).every(({ status }) => status === 'sent')).toBe(true);
});
