import { expect, test } from 'vitest';
import { contextWith } from '../memory-ports.ts';
import { maintainDatabaseHandler } from './handler.ts';

test('prunes, then vacuums every table that the jobs delete from', async () => {
  const vacuumed: string[] = [];
  const maintenance = { prune: async () => ({ jobs: 3 }), vacuum: async (table: string) => void vacuumed.push(table) };
  const outcome = await maintainDatabaseHandler({}, contextWith({ maintenance }));
  expect(vacuumed.toSorted()).toEqual(['messages', 'stories', 'temporary_files', 'user_prekeys', 'user_sessions']);
  expect(outcome).toMatchObject({ status: 'done', result: { pruned: { jobs: 3 }, notVacuumed: {}, complete: true } });
});

test('a table that cannot be vacuumed is reported, and the others are done', async () => {
  const maintenance = {
    prune: async () => ({}),
    vacuum: async (table: string) => {
      if (table === 'messages') throw new Error('canceling statement due to statement timeout');
    },
  };
  const outcome = await maintainDatabaseHandler({}, contextWith({ maintenance }));
  expect(outcome).toMatchObject({ result: { notVacuumed: { messages: 'canceling statement due to statement timeout' }, complete: false } });
});

test('a stop ends it between two tables', async () => {
  const stop = new AbortController();
  const maintenance = { prune: async () => ({}), vacuum: async () => stop.abort(new Error('stopping')) };
  await expect(maintainDatabaseHandler({}, contextWith({ maintenance }, stop.signal))).rejects.toThrow('stopping');
});
