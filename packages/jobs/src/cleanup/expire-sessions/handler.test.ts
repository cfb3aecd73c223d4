import { expect, test } from 'vitest';
import { contextWith } from '../memory-ports.ts';
import type { Sessions } from '../ports.ts';
import { expireSessionsHandler } from './handler.ts';

function memorySessions(rows: number) {
  const asked: number[] = [];
  const sessions: Sessions = {
    async deleteIdle({ idleMs, limit }) {
      asked.push(idleMs);
      const deleted = Math.min(limit, rows);
      rows -= deleted;
      return deleted;
    },
    markAway: () => Promise.reject(new Error('not expected')),
  };
  return { sessions, asked };
}

test('deletes sessions idle for 30 days, in batches, to the last', async () => {
  const { sessions, asked } = memorySessions(5);
  const outcome = await expireSessionsHandler({ type: 'sessions' }, contextWith({ sessions }));
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 5, batches: 3, complete: true } });
  expect(new Set(asked)).toEqual(new Set([30 * 24 * 3_600_000]));
});

test('run twice, the second run finds nothing', async () => {
  const { sessions } = memorySessions(1);
  await expireSessionsHandler({ type: 'sessions' }, contextWith({ sessions }));
  expect(await expireSessionsHandler({ type: 'sessions' }, contextWith({ sessions }))).toMatchObject({ result: { rows: 0, complete: true } });
});
