import { silentLogger } from '@backhaul/runtime';
import { type TcpProxy, eventually, startProxy } from '@backhaul/testing';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DatabaseUnavailable, type Queryable, createDatabase, sqlState } from './database.ts';

let world: TestDatabase;
let proxy: TcpProxy;
beforeAll(async () => {
  world = await testDatabase({ migrated: false });
  await world.database.query('CREATE TABLE t (id int PRIMARY KEY)');
  await world.database.query('CREATE TABLE p (id int PRIMARY KEY)');
  proxy = await startProxy({ target: world.url });
});
afterAll(async () => {
  await world.close();
  await proxy.close();
});

const throughProxy = () => {
  const url = new URL(world.url);
  url.host = `127.0.0.1:${proxy.port}`;
  return world.open({ url: url.href });
};

describe('A prepared statement', () => {
  const insert = 'INSERT INTO p (id) VALUES ($1)';
  const prepared = async (database: Queryable) => (await database.query<{ name: string }>('SELECT name FROM pg_prepared_statements')).rows;

  test('is prepared once, and by the same name on every connection', async () => {
    const [one, other] = [world.open({ poolSize: 1 }), world.open({ poolSize: 1 })];
    for (const id of [101, 102]) expect((await one.query(insert, [id], 'prepared')).rowCount).toBe(1);
    await other.query(insert, [103], 'prepared');
    expect(await prepared(one)).toHaveLength(1);
    expect(await prepared(other)).toEqual(await prepared(one));
    await other.query(insert, [104]);
    expect(await prepared(other)).toHaveLength(1);
  });

  test('that a pooler has lost is done once all the same, and none is prepared after it', async () => {
    const database = world.open({ poolSize: 1 });
    await database.query(insert, [201], 'prepared');
    await database.query('DEALLOCATE ALL');
    expect((await database.query(insert, [202], 'prepared')).rowCount).toBe(1);
    await database.query(insert, [203], 'prepared');
    expect(await prepared(database)).toEqual([]);
    expect((await database.query('SELECT id FROM p WHERE id BETWEEN 201 AND 203 ORDER BY id')).rows).toEqual([{ id: 201 }, { id: 202 }, { id: 203 }]);
  });

  test('that another client of the pooler has prepared on the same connection is done once all the same', async () => {
    const [first, second] = [world.open({ poolSize: 1 }), world.open({ poolSize: 1 })];
    await first.query(insert, [301], 'prepared');
    const [{ name } = { name: '' }] = await prepared(first);
    await second.query(`PREPARE ${name} AS SELECT 1`);
    expect((await second.query(insert, [302], 'prepared')).rowCount).toBe(1);
  });

  test('that is lost within a transaction undoes it, to be tried again', async () => {
    const database = world.open({ poolSize: 1 });
    await database.query(insert, [401], 'prepared');
    await database.query('DEALLOCATE ALL');
    const work = () =>
      database.transaction(async (client) => {
        await client.query(insert, [402]);
        await client.query(insert, [403], 'prepared');
      });
    await expect(work()).rejects.toThrow(DatabaseUnavailable);
    await work();
    expect((await database.query('SELECT id FROM p WHERE id BETWEEN 402 AND 403')).rows).toHaveLength(2);
  });
});

describe('A statement', () => {
  test('that takes too long is cancelled by the server, and the pool goes on', async () => {
    const database = world.open({ poolSize: 1, statementTimeoutMs: 100 });
    const failure = await database.query('SELECT pg_sleep(30)').catch((error: unknown) => error);
    expect(sqlState(failure)).toBe('57014');
    await database.ping();
  });

  test('that fails says why by its SQLSTATE', async () => {
    const failure = await world.database.query('SELECT 1/0').catch((error: unknown) => error);
    expect(sqlState(failure)).toBe('22012');
    expect(failure).not.toBeInstanceOf(DatabaseUnavailable);
  });

  test('to a server that is not there is DatabaseUnavailable', async () => {
    const database = world.open({ url: 'postgres://backhaul@127.0.0.1:1/none' });
    await expect(database.ping()).rejects.toBeInstanceOf(DatabaseUnavailable);
  });

  test('into a network that swallows everything fails soon, and the pool recovers (B-02)', async () => {
    const database = throughProxy();
    await database.ping();
    proxy.set({ blackhole: true });
    const impatient = world.open({ url: Object.assign(new URL(world.url), { host: `127.0.0.1:${proxy.port}` }).href, statementTimeoutMs: 200 });
    const startedAt = Date.now();
    await expect(impatient.ping()).rejects.toBeInstanceOf(DatabaseUnavailable);
    expect(Date.now() - startedAt).toBeLessThan(7_000);
    proxy.set({});
    proxy.cut();
    await eventually(() => database.ping());
  });

  test('on a connection that is cut is DatabaseUnavailable; the next one works', async () => {
    const database = throughProxy();
    const sleeping = database.query('SELECT pg_sleep(20)').catch((error: unknown) => error);
    await eventually(async () => {
      const { rows } = await world.database.query(`SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(20)%'`);
      expect(rows).toHaveLength(1);
    });
    proxy.cut();
    expect(await sleeping).toBeInstanceOf(DatabaseUnavailable);
    await database.ping();
  });
});

describe('A transaction', () => {
  test("is rolled back when its work throws, and the error is the work's own", async () => {
    const failure = new Error('no');
    await expect(
      world.database.transaction(async (client) => {
        await client.query('INSERT INTO t VALUES (1)');
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect((await world.database.query('SELECT * FROM t')).rows).toEqual([]);
  });

  test('that swallowed a failed statement is not taken for committed', async () => {
    const committed = world.database.transaction(async (client) => {
      await client.query('INSERT INTO t VALUES (2)');
      await client.query('SELECT 1/0').catch(() => undefined);
      return 'fine';
    });
    await expect(committed).rejects.toThrow(/rolled back/);
    expect((await world.database.query('SELECT * FROM t')).rows).toEqual([]);
  });

  test('whose connection is ended by the server fails; neither the process nor the pool does (A-18)', async () => {
    const database = world.open({ poolSize: 2, applicationName: 'victim' });
    const result = await database
      .transaction(async (client) => {
        await world.database.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'`);
        await client.query('SELECT 1');
      })
      .catch((error: unknown) => error);
    expect(result).toBeInstanceOf(DatabaseUnavailable);
    await database.ping();
  });

  test('idle connections that the server ends do not end the process (A-18)', async () => {
    const warned: string[] = [];
    const database = createDatabase({
      url: world.url,
      poolSize: 3,
      statementTimeoutMs: 5_000,
      applicationName: 'idle-victim',
      log: { ...silentLogger, warn: (message) => void warned.push(message) },
    });
    await Promise.all([database.query('SELECT pg_sleep(0.05)'), database.query('SELECT pg_sleep(0.05)'), database.query('SELECT pg_sleep(0.05)')]);
    await world.database.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'idle-victim'`);
    await eventually(() => expect(warned).toHaveLength(3));
    await database.ping();
    await database.close();
  });
});

test('A pool that is used up makes callers wait, not fail; waiting has an end', async () => {
  const database = world.open({ poolSize: 2, statementTimeoutMs: 20_000 });
  const startedAt = Date.now();
  await Promise.all(Array.from({ length: 10 }, () => database.query('SELECT pg_sleep(0.05)')));
  expect(Date.now() - startedAt).toBeGreaterThanOrEqual(240);
  const holders = [database.query('SELECT pg_sleep(6.5)'), database.query('SELECT pg_sleep(6.5)')];
  await expect(database.ping()).rejects.toBeInstanceOf(DatabaseUnavailable);
  await Promise.all(holders);
}, 15_000);

test('A server that has no connection left is DatabaseUnavailable', async () => {
  await world.database.query('CREATE ROLE crowded LOGIN CONNECTION LIMIT 1').catch(() => undefined);
  const url = Object.assign(new URL(world.url), { username: 'crowded' }).href;
  const database = world.open({ url, poolSize: 2 });
  // The one connection there is, taken first: of two that come at the same moment Postgres may refuse both.
  await database.ping();
  const results = await Promise.allSettled([database.query('SELECT pg_sleep(0.3)'), database.query('SELECT pg_sleep(0.3)')]);
  const failed = results.filter((result) => result.status === 'rejected');
  expect(failed).toHaveLength(1);
  expect(failed[0]?.reason).toBeInstanceOf(DatabaseUnavailable);
  await database.close();
});
