import { expect, test } from 'vitest';
import { contextWith, memoryCursors } from '../memory-ports.ts';
import type { Prekeys } from '../ports.ts';
import { rotatePrekeysHandler } from './handler.ts';

/** Users with so many outdated prekeys each. */
function memoryPrekeys(outdated: Record<string, number>) {
  const left = new Map(Object.entries(outdated));
  const prekeys: Prekeys = {
    usersAfter: async (after, limit) => [...left.keys()].filter((id) => after === undefined || id > after).slice(0, limit),
    async deleteOutdated({ userIds, limit, keepUnused, usedForMs, unusedForMs }) {
      expect({ keepUnused, usedForMs, unusedForMs }).toEqual({ keepUnused: 20, usedForMs: 7 * 86_400_000, unusedForMs: 90 * 86_400_000 });
      let deleted = 0;
      for (const id of userIds) {
        const count = Math.min(left.get(id) ?? 0, limit - deleted);
        left.set(id, (left.get(id) ?? 0) - count);
        deleted += count;
      }
      return deleted;
    },
  };
  return { prekeys, left };
}

test('walks over all users, and over those with many outdated prekeys as often as it takes', async () => {
  const { prekeys, left } = memoryPrekeys({ a: 1, b: 7, c: 0, d: 2, e: 1 });
  const cursors = memoryCursors();
  const outcome = await rotatePrekeysHandler({ type: 'prekeys' }, contextWith({ prekeys, cursors }));
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 11, complete: true } });
  expect([...left.values()]).toEqual([0, 0, 0, 0, 0]);
  expect(cursors.saved.size).toBe(0);
});

test('a run that ends early is continued by the next one where it stopped', async () => {
  const { prekeys, left } = memoryPrekeys({ a: 2, b: 2, c: 2, d: 2 });
  const cursors = memoryCursors();
  const first = await rotatePrekeysHandler({ type: 'prekeys', data: { limit: 3 } }, contextWith({ prekeys, cursors }));
  expect(first).toMatchObject({ result: { rows: 3, complete: false } });
  const second = await rotatePrekeysHandler({ type: 'prekeys' }, contextWith({ prekeys, cursors }));
  expect(second).toMatchObject({ result: { rows: 5, complete: true } });
  expect([...left.values()]).toEqual([0, 0, 0, 0]);
});
