import { expect, test } from 'vitest';
import { contextWith, memoryCursors } from '../memory-ports.ts';
import { refreshUserStatisticsHandler } from './handler.ts';

function memoryStatistics(users: readonly string[]) {
  const refreshed: string[] = [];
  return {
    refreshed,
    statistics: {
      usersAfter: async (after: string | undefined, limit: number) => users.filter((id) => after === undefined || id > after).slice(0, limit),
      refresh: async (userIds: readonly string[]) => void refreshed.push(...userIds),
    },
  };
}

test('refreshes every user once', async () => {
  const { statistics, refreshed } = memoryStatistics(['a', 'b', 'c', 'd', 'e']);
  const outcome = await refreshUserStatisticsHandler({}, contextWith({ statistics, cursors: memoryCursors() }));
  expect(outcome).toMatchObject({ status: 'done', result: { users: 5, complete: true } });
  expect(refreshed).toEqual(['a', 'b', 'c', 'd', 'e']);
});

test('goes on where an earlier run ran out of time', async () => {
  const { statistics, refreshed } = memoryStatistics(['a', 'b', 'c']);
  const cursors = memoryCursors();
  cursors.saved.set('cleanup.refresh-user-statistics', 'b');
  await refreshUserStatisticsHandler({}, contextWith({ statistics, cursors }));
  expect(refreshed).toEqual(['c']);
  expect(cursors.saved.size).toBe(0);
});
