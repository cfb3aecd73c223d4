import { sqlState } from '@backhaul/database';
import { cleanupHandlers } from '@backhaul/jobs/cleanup';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestWorld, createTestWorld } from './test-world.ts';

let world: TestWorld;

beforeAll(async () => {
  world = await createTestWorld();
});
afterAll(() => world.close());
beforeEach(() => world.empty());

/** Idle sessions, and some that somebody is using. */
async function addSessions(idle: number, live: number): Promise<void> {
  await world.database.query(
    `INSERT INTO user_sessions (user_id, last_active_at, created_at)
     SELECT gen_random_uuid(), now() - interval '31 days', now() - interval '60 days' FROM generate_series(1, $1)
     UNION ALL SELECT gen_random_uuid(), now(), now() - interval '60 days' FROM generate_series(1, $2)`,
    [idle, live],
  );
}

const count = async (table: string) => (await world.database.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${table}`)).rows[0]?.count;
const rowsOf = (outcome: Awaited<ReturnType<(typeof cleanupHandlers)['cleanup.expire-sessions']>>) =>
  outcome.status === 'done' ? Number(outcome.result['rows']) : 0;

test('D-25: 20,000 rows are deleted while the chat writes, and no writer waits long', async () => {
  await addSessions(20_000, 200);
  // The server's own measure of a lock wait: the time that a statement takes here says more about the machine's other work.
  const chat = world.impatient(100);
  let writes = 0;
  let lockTimeouts = 0;
  let cleaning = true;
  const writer = async () => {
    while (cleaning) {
      writes += 1;
      try {
        await chat.query(
          `UPDATE user_sessions SET last_active_at = now() WHERE id = (SELECT id FROM user_sessions WHERE last_active_at > now() - interval '1 hour' LIMIT 1)`,
        );
        await chat.query(`INSERT INTO user_sessions (user_id) VALUES (gen_random_uuid())`);
      } catch (error) {
        if (sqlState(error) !== '55P03') throw error;
        lockTimeouts += 1;
      }
    }
  };
  const writing = [writer(), writer()];
  const outcome = await cleanupHandlers['cleanup.expire-sessions']({ type: 'sessions' }, world.context());
  cleaning = false;
  await Promise.all(writing);
  await chat.close();
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 20_000, complete: true } });
  expect(await count(`user_sessions WHERE last_active_at < now() - interval '30 days'`)).toBe(0);
  expect(writes).toBeGreaterThan(20);
  expect(lockTimeouts / writes).toBeLessThan(0.05);
});

test('D-25: two cleaners share the work, and every row is deleted once', async () => {
  await addSessions(5_000, 10);
  const clean = () => cleanupHandlers['cleanup.expire-sessions']({ type: 'sessions' }, world.context({ batchSize: 100 }));
  const outcomes = await Promise.all([clean(), clean()]);
  expect(outcomes.reduce((sum, outcome) => sum + rowsOf(outcome), 0)).toBe(5_000);
  expect(await count('user_sessions')).toBe(10);
});

test('D-25: two cleaners of stories never take the same row', async () => {
  await world.database.query(
    `INSERT INTO stories (user_id, media_url, created_at) SELECT gen_random_uuid(), 'https://elsewhere.example/' || n, now() - interval '2 days' FROM generate_series(1, 300) n`,
  );
  const context = world.context();
  const seen: string[] = [];
  const clean = async () => {
    for (;;) {
      const { taken } = await context.ports.stories.takeBatch({ olderThanMs: 0, limit: 20, skip: [] }, async (rows) => {
        seen.push(...rows.map((row) => row.id));
        return rows.map((row) => row.id);
      });
      if (taken === 0) return;
    }
  };
  await Promise.all([clean(), clean()]);
  expect(seen).toHaveLength(300);
  expect(new Set(seen).size).toBe(300);
  expect(await count('stories')).toBe(0);
});

test('D-25: a run that is stopped keeps what it did, and the next one does the rest', async () => {
  await addSessions(1_000, 5);
  const stop = new AbortController();
  const context = world.context({ signal: stop.signal, batchSize: 50 });
  const { sessions } = context.ports;
  let batches = 0;
  const stopping = {
    ...context.ports,
    sessions: {
      ...sessions,
      async deleteIdle(options: Parameters<typeof sessions.deleteIdle>[0]) {
        batches += 1;
        if (batches === 3) stop.abort(new Error('stopping'));
        return sessions.deleteIdle(options);
      },
    },
  };
  await expect(cleanupHandlers['cleanup.expire-sessions']({ type: 'sessions' }, { ...context, ports: stopping })).rejects.toThrow('stopping');
  const left = (await count('user_sessions')) ?? 0;
  expect(left).toBe(1_005 - 3 * 50);
  const outcome = await cleanupHandlers['cleanup.expire-sessions']({ type: 'sessions' }, world.context());
  expect(rowsOf(outcome)).toBe(left - 5);
});

test('D-23: with a single connection nothing waits for a second one', async () => {
  const single = await createTestWorld({ poolSize: 1 });
  try {
    await single.database.query(
      `INSERT INTO stories (user_id, media_url, created_at) VALUES (gen_random_uuid(), 'https://elsewhere.example/1', now() - interval '2 days')`,
    );
    const outcome = await cleanupHandlers['cleanup.expire-stories']({ type: 'stories' }, single.context());
    expect(outcome).toMatchObject({ status: 'done', result: { rows: 1, complete: true } });
  } finally {
    await single.close();
  }
});
