import { randomUUID } from 'node:crypto';
import { silentLogger } from '@backhaul/runtime';
import { sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { adviseChatIndexes, checkChatTables, createChatTables } from './chat-schema.ts';
import { type Database, createDatabase } from './database.ts';

const name = `test_chat_${randomUUID().replaceAll('-', '')}`;
const open = (url: string): Database => createDatabase({ url, poolSize: 2, statementTimeoutMs: 10_000, applicationName: 'test', log: silentLogger });
let databaseUrl: string;
let server: Database;
let database: Database;

beforeAll(async () => {
  const url = new URL(sharedStack().env['DATABASE_URL'] ?? '');
  server = open(url.href);
  await server.query(`CREATE DATABASE ${name}`);
  url.pathname = name;
  databaseUrl = url.href;
  database = open(databaseUrl);
});

afterAll(async () => {
  await database.close();
  await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
  await server.close();
});

beforeEach(async () => {
  await database.query('DROP SCHEMA public CASCADE');
  await database.query('CREATE SCHEMA public');
});

test('creating the tables twice changes nothing, and the check then finds nothing', async () => {
  await createChatTables(database);
  await database.query(`INSERT INTO temporary_files (file_path) VALUES ('tmp/a')`);
  await createChatTables(database);
  expect((await database.query('SELECT * FROM temporary_files')).rows).toHaveLength(1);
  expect(await checkChatTables(database)).toEqual([]);
  expect(await adviseChatIndexes(database)).toEqual([]);
});

test('several that create the tables at the same time do not disturb each other', async () => {
  const others = Array.from({ length: 4 }, () => open(databaseUrl));
  await Promise.all([database, ...others].map((one) => createChatTables(one)));
  await Promise.all(others.map((one) => one.close()));
  expect(await checkChatTables(database)).toEqual([]);
});

test('an empty database is told every table with its columns', async () => {
  const problems = await checkChatTables(database);
  expect(problems).toHaveLength(6);
  expect(problems[0]).toContain('table messages is missing: expected id uuid, sender_id uuid');
});

test('a missing and a different column are named, with what was expected; more columns are fine', async () => {
  await createChatTables(database);
  await database.query('ALTER TABLE stories DROP COLUMN thumbnail_url');
  await database.query('ALTER TABLE messages ALTER COLUMN deleted_at TYPE text');
  await database.query('ALTER TABLE messages ADD COLUMN reactions jsonb');
  await database.query('ALTER TABLE user_sessions ALTER COLUMN user_id TYPE text');
  expect(await checkChatTables(database)).toEqual([
    'column messages.deleted_at is text: expected timestamp with time zone or timestamp without time zone',
    'column stories.thumbnail_url is missing: expected text or character varying',
  ]);
});

test('a missing index is advised with the statement that makes it; another index with the same first column will do', async () => {
  await createChatTables(database);
  await database.query('DROP INDEX messages_media_url');
  await database.query('DROP INDEX stories_created_at');
  await database.query('CREATE INDEX theirs ON stories (created_at, user_id)');
  expect(await adviseChatIndexes(database)).toEqual([
    'no index on messages leads with media_url: CREATE INDEX CONCURRENTLY messages_media_url ON messages (media_url) WHERE media_url IS NOT NULL',
  ]);
});
