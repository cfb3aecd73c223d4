import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { type Effect, type FleetProcess, sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type World, createWorld } from './world.ts';

const recipients = 10_000;
/** So many sends pass before the worker dies. */
const beforeTheKill = 3_000;
/** MiB of the worker at its peak, below its pod's limit of 512. Measured: 300 while it pushes, 390 while it mails, and 330 after a fifth of the mails. */
const mostMemory = 500;

let world: World;
let worker: FleetProcess;

beforeAll(async () => {
  const stack = sharedStack();
  world = await createWorld(stack.env, stack.fakes);
  worker = (await world.fleet({ services: ['bridge', 'notification-worker'] })).get('notification-worker');
});
afterAll(() => world.close());
beforeEach(async () => {
  await world.fakes.reset();
  await world.database.query('TRUNCATE backhaul.jobs, backhaul.effects, notifications');
});

const text = { title: 'Family', body: 'Dinner?' };
const users = () => Array.from({ length: recipients }, () => randomUUID());

/** The most memory that the worker had since it was started, in MiB. */
async function peakMemory(): Promise<number> {
  const status = await readFile(`/proc/${worker.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}

/**
 * Has the worker die by SIGKILL in the middle of `load`, after a send and before its confirmation, and starts it again when what it had
 * under way may be asked about: a claim lasts for 45 s, its end is brought forward. Returns what the ledger knew to be sent by then.
 */
async function crashInTheMiddle(load: () => Promise<unknown>): Promise<ReadonlySet<string>> {
  await worker.kill('SIGTERM');
  await worker.restart({ FAILPOINT: `notification.sent:${beforeTheKill}` });
  let died = false;
  const exited = worker.exited.finally(() => (died = true));
  await load();
  while (!died) {
    const memory = await peakMemory().catch(() => Number.NaN);
    // Nothing is to be read of a process that died in between.
    if (!Number.isNaN(memory)) expect(memory).toBeLessThan(mostMemory);
    await Promise.race([exited, pause(200)]);
  }
  expect(await exited).toMatchObject({ signal: 'SIGKILL' });
  const done = await confirmed();
  expect(done.size).toBeGreaterThan(beforeTheKill / 2);
  expect(done.size).toBeLessThanOrEqual(beforeTheKill);
  await world.database.query(`UPDATE backhaul.effects SET lease_until = now() - interval '1 second'`);
  await worker.restart();
  return done;
}

/** The keys of what the ledger knows to be sent. */
async function confirmed(): Promise<Set<string>> {
  const { rows } = await world.database.query<{ key: string }>(`SELECT effect_key AS key FROM backhaul.effects WHERE state = 'confirmed'`);
  return new Set(rows.map(({ key }) => key));
}

/** Each recipient has one row, which says that they were reached. */
async function expectOneRowEach(): Promise<void> {
  const { rows } = await world.database.query(
    'SELECT count(*)::int AS rows, count(DISTINCT user_id)::int AS users, bool_and(success) AS reached FROM notifications',
  );
  expect(rows).toEqual([{ rows: recipients, users: recipients, reached: true }]);
}

const collapseKeyOf = (effect: Effect) => (effect['message'] as { android?: { collapse_key?: string } }).android?.collapse_key;

/** One event to 10,000 users, each with a device. */
async function pushToAll(): Promise<string> {
  const userIds = users();
  await world.database.query('TRUNCATE backhaul.device_tokens');
  await world.database.query(
    `INSERT INTO backhaul.device_tokens (token_hash, token, user_id, platform)
     SELECT sha256(convert_to('phone:' || id, 'UTF8')), 'phone:' || id, id, 'android' FROM unnest($1::text[]) AS id`,
    [userIds],
  );
  return world.publish('notification.push', { type: 'push', ...text, userIds });
}

/** A mail to each of 10,000: an event names one. */
async function mailToAll(): Promise<void> {
  const events = users().map((userId) => ({ type: 'email', ...text, userId, email: `${userId}@example.com` }));
  for (let from = 0; from < recipients; from += 200) {
    await Promise.all(events.slice(from, from + 200).map((event) => world.publish('notification.email', event)));
  }
}

/** Who was sent to how often in the end: everybody once, and a second time those of whom the crash left open whether they were. Copies show as one, by what `markOf` says. */
function expectCopies(effects: readonly Effect[], done: ReadonlySet<string>, markOf: (effect: Effect) => unknown): void {
  const sends = Map.groupBy(effects, ({ key }) => key);
  expect(sends.size).toBe(recipients);
  let copies = 0;
  for (const same of sends.values()) {
    expect(same.length).toBeLessThanOrEqual(2);
    expect(new Set(same.map(markOf)).size).toBe(1);
    copies += same.length - 1;
  }
  expect(new Set(effects.map(markOf)).size).toBe(recipients);
  // At least the one after which it died, at most what one process has under way; and none of what it had confirmed.
  expect(copies).toBeGreaterThanOrEqual(1);
  expect(copies).toBeLessThanOrEqual(Math.min(100, recipients - done.size));
}

/** That nothing was asked for again of what was confirmed before the crash. */
async function expectNoResend(done: ReadonlySet<string>): Promise<void> {
  const { rows: again } = await world.database.query<{ key: string }>(`SELECT effect_key AS key FROM backhaul.effects WHERE effect_key LIKE '%:resend'`);
  expect(again.length).toBeGreaterThanOrEqual(1);
  expect(again.filter(({ key }) => done.has(key.slice(0, -':resend'.length)))).toEqual([]);
}

test('a push to 10,000 users reaches each of their devices once, in bounded memory', async () => {
  expect(await world.ended(await pushToAll())).toMatchObject({ status: 'done', failures: 0, result: { users: recipients, refused: {} } });
  const pushes = await world.fakes.effects({ service: 'fcm', kind: 'push' });
  expect([pushes.length, new Set(pushes.map(({ key }) => key)).size]).toEqual([recipients, recipients]);
  expect(new Set(pushes.map((push) => collapseKeyOf(push))).size).toBe(recipients);
  await expectOneRowEach();
  expect(await peakMemory()).toBeLessThan(mostMemory);
});

test('A-07: killed in the middle of a push to 10,000 users, the next run reaches the rest, and nobody sees it twice', async () => {
  let id = '';
  const done = await crashInTheMiddle(async () => (id = await pushToAll()));
  expect(await world.ended(id)).toMatchObject({ status: 'done', failures: 0 });
  expectCopies(await world.fakes.effects({ service: 'fcm', kind: 'push' }), done, collapseKeyOf);
  await expectNoResend(done);
  await expectOneRowEach();
  expect(await peakMemory()).toBeLessThan(mostMemory);
});

test('A-07: of 10,000 mails each goes to one recipient, once; killed in the middle, the next run sends the rest, and copies have the Message-ID of the first', async () => {
  const done = await crashInTheMiddle(mailToAll);
  expect(await world.allEnded(recipients)).toEqual([{ status: 'done', count: recipients }]);
  const mails = await world.fakes.effects({ service: 'smtp', kind: 'mail' });
  for (const { key, to } of mails) expect(to).toEqual([key]);
  expectCopies(mails, done, (mail) => mail['messageId']);
  await expectNoResend(done);
  await expectOneRowEach();
  expect(await peakMemory()).toBeLessThan(mostMemory);
});
