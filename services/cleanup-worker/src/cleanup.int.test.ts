import { randomUUID } from 'node:crypto';
import { access, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cleanupHandlers } from '@backhaul/jobs/cleanup';
import { sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestWorld, createTestWorld } from './test-world.ts';

let world: TestWorld;

beforeAll(async () => {
  world = await createTestWorld();
});
afterAll(() => world.close());
beforeEach(() => world.empty());

const count = async (table: string) => (await world.database.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${table}`)).rows[0]?.count;

async function addStory(ageHours: number, ...urls: string[]): Promise<void> {
  await world.database.query(
    `INSERT INTO stories (user_id, media_url, thumbnail_url, created_at) VALUES (gen_random_uuid(), $2, $3, now() - $1 * interval '1 hour')`,
    [ageHours, urls[0] ?? null, urls[1] ?? null],
  );
}

async function addMessage(id: string, deletedDaysAgo: number | null, ...urls: string[]): Promise<void> {
  await world.database.query(
    `INSERT INTO messages (id, sender_id, chat_id, media_url, thumbnail_url, deleted_at)
     VALUES ($1, gen_random_uuid(), gen_random_uuid(), $3, $4, now() - $2::int * interval '1 day')`,
    [id, deletedDaysAgo, urls[0] ?? null, urls[1] ?? null],
  );
}

test('expired stories go with their objects; young ones, shared objects and strangers stay', async () => {
  const at = `stories/${randomUUID()}`;
  const [old = '', small = '', young = '', shared = ''] = await world.put(`${at}/old`, `${at}/old-small`, `${at}/young`, `${at}/shared`);
  await addStory(25, old, small);
  await addStory(23, young);
  await addStory(30, shared, 'https://elsewhere.example/x.jpg');
  await addMessage(randomUUID(), null, shared);
  const outcome = await cleanupHandlers['cleanup.expire-stories']({ type: 'stories' }, world.context());
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 2, deletedObjects: 2, complete: true } });
  expect(await count('stories')).toBe(1);
  expect(await world.keys(at)).toEqual([`${at}/shared`, `${at}/young`]);
});

test('a run that dies after the objects and before the rows is made good by the next', async () => {
  const at = `stories/${randomUUID()}`;
  const [url = ''] = await world.put(`${at}/a`);
  await addStory(25, url);
  const context = world.context();
  const dying = context.ports.stories.takeBatch({ olderThanMs: 0, limit: 10, skip: [] }, async () => {
    await world.store.deleteMany([`${at}/a`]);
    throw new Error('died here');
  });
  await expect(dying).rejects.toThrow('died here');
  expect(await count('stories')).toBe(1);
  await cleanupHandlers['cleanup.expire-stories']({ type: 'stories' }, context);
  expect(await count('stories')).toBe(0);
});

test('while the store refuses, every row stays; once it answers again, all go', async () => {
  const at = `stories/${randomUUID()}`;
  const [url = ''] = await world.put(`${at}/a`);
  await addStory(25, url);
  const refusal = await sharedStack().fakes.script('s3', [{ match: { operation: 'DeleteObjects' }, action: { status: 403, code: 'AccessDenied' } }]);
  try {
    await expect(cleanupHandlers['cleanup.expire-stories']({ type: 'stories' }, world.context())).rejects.toThrow();
    expect(await count('stories')).toBe(1);
  } finally {
    await refusal.remove();
  }
  await cleanupHandlers['cleanup.expire-stories']({ type: 'stories' }, world.context());
  expect(await count('stories')).toBe(0);
  expect(await world.keys(at)).toEqual([]);
});

test('messages deleted 30 days ago go for good with their whole folder; forwarded media stay', async () => {
  const [gone, recent, original, forward] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const [goneUrl = '', , recentUrl = '', originalUrl = ''] = await world.put(
    `media/${gone}/r1/image.jpg`,
    `media/${gone}/r1/thumb.jpg`,
    `media/${recent}/r1/image.jpg`,
    `media/${original}/r1/image.jpg`,
  );
  await addMessage(gone, 31, goneUrl);
  await addMessage(recent, 29, recentUrl);
  await addMessage(original, 31, originalUrl);
  await addMessage(forward, null, originalUrl);
  await addMessage(randomUUID(), 31);
  await addMessage(randomUUID(), null);
  const outcome = await cleanupHandlers['cleanup.purge-messages']({ type: 'messages' }, world.context());
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 3, deletedObjects: 2, complete: true } });
  expect(await count('messages')).toBe(3);
  expect(await world.keys(`media/${gone}/`)).toEqual([]);
  expect(await world.keys(`media/${recent}/`)).toHaveLength(1);
  expect(await world.keys(`media/${original}/`)).toHaveLength(1);
});

test('orphaned media go, media with a message or shown by somebody stay', async () => {
  const [orphan, owned, forwarded] = [randomUUID(), randomUUID(), randomUUID()];
  await world.put(`media/${orphan}/r1/a`, `media/${orphan}/r1/b`, `media/${owned}/r1/a`, `media/${forwarded}/r1/b`);
  const [url = ''] = await world.put(`media/${forwarded}/r1/a`);
  await addMessage(owned, 5);
  await addMessage(randomUUID(), null, url);
  const young = await cleanupHandlers['cleanup.delete-orphaned-media']({ type: 'orphaned_media' }, world.context({ batchSize: 3 }));
  expect(young).toMatchObject({ result: { deletedObjects: 0, complete: true } });
  const outcome = await cleanupHandlers['cleanup.delete-orphaned-media'](
    { type: 'orphaned_media', data: { olderThanHours: 0 } },
    world.context({ batchSize: 3 }),
  );
  expect(outcome).toMatchObject({ status: 'done', result: { complete: true, failedObjects: 0 } });
  expect(await world.keys(`media/${orphan}/`)).toEqual([]);
  expect(await world.keys(`media/${owned}/`)).toHaveLength(1);
  expect(await world.keys(`media/${forwarded}/`)).toHaveLength(2);
});

test('temporary files go from bucket and folder; nothing outside the folder is touched, by no road', async () => {
  const key = `tmp/${randomUUID()}`;
  await world.put(key);
  const outside = `${world.folder}-outside`;
  await mkdir(outside);
  await writeFile(join(outside, 'precious'), 'x');
  await writeFile(join(world.folder, 'old.bin'), 'x');
  await symlink(outside, join(world.folder, 'road'));
  await symlink(join(outside, 'precious'), join(world.folder, 'link'));
  const inside = [join(world.folder, 'old.bin'), join(world.folder, 'link'), join(world.folder, 'never-was'), join(world.folder, 'no', 'such', 'folder')];
  const refused = [
    join(outside, 'precious'),
    join(world.folder, 'road', 'precious'),
    `${world.folder}/../${outside.split('/').at(-1)}/precious`,
    world.folder,
    '/etc/hostname',
  ];
  for (const path of [key, ...inside, ...refused]) {
    await world.database.query(`INSERT INTO temporary_files (file_path, created_at) VALUES ($1, now() - interval '25 hours')`, [path]);
  }
  await world.database.query(`INSERT INTO temporary_files (file_path) VALUES ('tmp/young')`);
  const outcome = await cleanupHandlers['cleanup.delete-temp-files']({ type: 'temp_files' }, world.context());
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 5, refused: 5, complete: true } });
  const { rows } = await world.database.query<{ file_path: string }>('SELECT file_path FROM temporary_files');
  expect(rows.map((row) => row.file_path).toSorted()).toEqual([...refused, 'tmp/young'].toSorted());
  await access(join(outside, 'precious'));
  await expect(access(join(world.folder, 'old.bin'))).rejects.toThrow();
  expect(await world.keys(key)).toEqual([]);
});

test('used and outdated prekeys go, and every user keeps the newest 20 unused', async () => {
  const [away, busy] = [randomUUID(), randomUUID()];
  const add = (user: string, from: number, to: number, ageDays: number, usedDaysAgo: number | null) =>
    world.database.query(
      `INSERT INTO user_prekeys (user_id, prekey_id, public_key, created_at, used_at)
       SELECT $1, n, 'key', now() - $4::int * interval '1 day' + n * interval '1 second', now() - $5::int * interval '1 day' FROM generate_series($2::int, $3::int) n`,
      [user, from, to, ageDays, usedDaysAgo],
    );
  await add(away, 1, 50, 100, null);
  await add(busy, 1, 30, 100, null);
  await add(busy, 31, 55, 10, null);
  await add(busy, 56, 60, 20, 8);
  await add(busy, 61, 65, 20, 6);
  const outcome = await cleanupHandlers['cleanup.rotate-prekeys']({ type: 'prekeys' }, world.context({ batchSize: 7 }));
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 30 + 30 + 5, complete: true } });
  const { rows } = await world.database.query<{ user_id: string; first: number; last: number; count: number }>(
    'SELECT user_id, min(prekey_id) AS first, max(prekey_id) AS last, count(*)::int AS count FROM user_prekeys GROUP BY user_id',
  );
  expect(rows.find((row) => row.user_id === away)).toMatchObject({ first: 31, last: 50, count: 20 });
  expect(rows.find((row) => row.user_id === busy)).toMatchObject({ first: 31, last: 65, count: 30 });
});

test('stale connections are closed, live ones stay', async () => {
  await world.database.query(
    `INSERT INTO user_sessions (user_id, last_active_at) SELECT gen_random_uuid(), now() - n * interval '10 minutes' FROM generate_series(0, 5) n`,
  );
  const outcome = await cleanupHandlers['cleanup.close-stale-websockets']({}, world.context({ batchSize: 2 }));
  expect(outcome).toMatchObject({ result: { closedSessions: 3, complete: true } });
  expect(await count('user_sessions WHERE is_active')).toBe(3);
});

test('statistics are counted per user, and when somebody was last seen is never forgotten', async () => {
  const user = randomUUID();
  await world.database.query(`INSERT INTO messages (sender_id, chat_id, media_url) VALUES ($1, $1, 'https://x.example/1'), ($1, $1, NULL)`, [user]);
  await world.database.query(`INSERT INTO messages (sender_id, chat_id, deleted_at) VALUES ($1, $1, now())`, [user]);
  await world.database.query(`INSERT INTO stories (user_id) VALUES ($1)`, [user]);
  await world.database.query(`INSERT INTO user_sessions (user_id) SELECT gen_random_uuid() FROM generate_series(1, 10)`);
  await world.database.query(`INSERT INTO user_sessions (user_id, last_active_at) VALUES ($1, now() + interval '1 minute')`, [user]);
  const refresh = () => cleanupHandlers['cleanup.refresh-user-statistics']({}, world.context({ batchSize: 3 }));
  const figures = async () => (await world.database.query('SELECT * FROM backhaul.user_statistics WHERE user_id = $1', [user])).rows[0];
  expect(await refresh()).toMatchObject({ result: { users: 11, complete: true } });
  const before = await figures();
  expect(before).toMatchObject({ messages: '2', media: '1', stories: '1' });
  await world.database.query('TRUNCATE messages, user_sessions');
  await refresh();
  expect(await figures()).toMatchObject({ messages: '0', media: '0', stories: '1', last_active_at: before?.['last_active_at'] });
});

test('upkeep prunes the record and vacuums the tables', async () => {
  await world.database.query(
    `INSERT INTO backhaul.jobs (message_id, queue, name, status, priority, body_hash, payload, received_at, finished_at)
     VALUES ('old', 'media', 'x', 'done', 1, '\\x00', '{}', now() - interval '9 days', now() - interval '8 days'),
            ('open', 'media', 'x', 'queued', 1, '\\x00', '{}', now() - interval '9 days', NULL)`,
  );
  const outcome = await cleanupHandlers['cleanup.maintain-database']({}, world.context());
  expect(outcome).toMatchObject({ status: 'done', result: { pruned: { jobs: 1 }, notVacuumed: {}, complete: true } });
  expect((await world.database.query('SELECT message_id FROM backhaul.jobs')).rows).toEqual([{ message_id: 'open' }]);
  const vacuumed = await world.database.query(`SELECT relname FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL AND schemaname = 'public'`);
  expect(vacuumed.rows).toHaveLength(5);
});

test('the health check sees dependencies and open jobs', async () => {
  await world.database.query('TRUNCATE backhaul.jobs');
  await world.database.query(
    `INSERT INTO backhaul.jobs (message_id, queue, name, priority, body_hash, payload, received_at) VALUES ('late', 'media', 'x', 1, '\\x00', '{}', now() - interval '1 hour')`,
  );
  const outcome = await cleanupHandlers['cleanup.check-health']({}, world.context());
  expect(outcome).toMatchObject({
    result: {
      healthy: false,
      failing: [],
      late: ['media'],
      dependencies: { postgres: { ok: true }, objectStore: { ok: true } },
      queues: [{ queue: 'media', open: 1 }],
    },
  });
});
