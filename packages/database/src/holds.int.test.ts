import { silentLogger } from '@backhaul/runtime';
import { eventually } from '@backhaul/testing';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, createDatabase } from './database.ts';
import { createHolds } from './holds.ts';

let world: TestDatabase;
const opened: Database[] = [];
beforeAll(async () => {
  world = await testDatabase({ migrated: false });
});
afterAll(async () => {
  await Promise.all(opened.map((database) => database.close()));
  await world.close();
});

/** As another process would have it. */
function holdsOf(applicationName: string, longestMs = 60_000) {
  const database = createDatabase({ url: world.url, poolSize: 2, statementTimeoutMs: 5_000, applicationName, log: silentLogger });
  opened.push(database);
  return createHolds(database, { longestMs });
}

async function taken(holds: ReturnType<typeof holdsOf>, name: string): Promise<AsyncDisposable> {
  const hold = await holds.hold(name);
  if (hold === 'taken') throw new Error(`${name} is taken`);
  return hold;
}

test('a name is held by one at a time, also within one process, and free afterwards', async () => {
  const [one, other] = [holdsOf('one'), holdsOf('other')];
  const first = await taken(one, 'a');
  expect(await other.hold('a')).toBe('taken');
  expect(await one.hold('a')).toBe('taken');
  await (await taken(other, 'b'))[Symbol.asyncDispose]();
  await first[Symbol.asyncDispose]();
  await (await taken(other, 'a'))[Symbol.asyncDispose]();
});

test('a hold ends with the connection of its holder, whose work goes on', async () => {
  const [one, other] = [holdsOf('cut-off'), holdsOf('waiting')];
  const first = await taken(one, 'c');
  await world.database.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut-off'`);
  await eventually(async () => (await taken(other, 'c'))[Symbol.asyncDispose]());
  await first[Symbol.asyncDispose]();
});

test('a hold ends after its longest time, whatever its holder does', async () => {
  const [one, other] = [holdsOf('forgetful', 100), holdsOf('patient')];
  const first = await taken(one, 'd');
  await eventually(async () => (await taken(other, 'd'))[Symbol.asyncDispose]());
  await first[Symbol.asyncDispose]();
});

test('a database that is away is said to be, and no hold', async () => {
  const database = createDatabase({
    url: 'postgres://nobody@127.0.0.1:1/none',
    poolSize: 1,
    statementTimeoutMs: 1_000,
    applicationName: 'away',
    log: silentLogger,
  });
  opened.push(database);
  await expect(createHolds(database, { longestMs: 1_000 }).hold('e')).rejects.toMatchObject({ code: 'database_unavailable' });
});
