import { afterEach, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { SchemaMismatch, migrate, pendingMigrations } from './migrate.ts';

let world: TestDatabase;
beforeEach(async () => {
  world = await testDatabase({ migrated: false });
});
afterEach(() => world.close());

test('Five processes that start at once apply each migration once', async () => {
  const pools = Array.from({ length: 5 }, () => world.open({ poolSize: 1 }));
  const before = await pendingMigrations(world.database);
  expect(before.length).toBeGreaterThan(0);
  const applied = await Promise.all(pools.map((pool) => migrate(pool)));
  expect(applied.flat().toSorted()).toEqual(before);
  expect(await pendingMigrations(world.database)).toEqual([]);
  expect(await migrate(world.database)).toEqual([]);
});

test('A migration that was edited after it had been applied is refused by name, and nothing is changed', async () => {
  const [first = ''] = await migrate(world.database);
  await world.database.query('UPDATE backhaul.schema_migrations SET sha256 = $1 WHERE name = $2', ['0'.repeat(64), first]);
  const failure = await migrate(world.database).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(SchemaMismatch);
  expect((failure as Error).message).toContain(first);
});

test('A newer version may have been here: an older one starts all the same', async () => {
  await migrate(world.database);
  await world.database.query(`INSERT INTO backhaul.schema_migrations (name, sha256) VALUES ('9999-future.sql', 'x')`);
  expect(await migrate(world.database)).toEqual([]);
});
