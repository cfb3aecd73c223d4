import { expect, test } from 'vitest';
import { contextWith } from '../memory-ports.ts';
import { closeStaleWebsocketsHandler } from './handler.ts';

test('marks sessions without a sign of life for 30 minutes, to the last', async () => {
  let left = 3;
  const sessions = {
    deleteIdle: () => Promise.reject(new Error('not expected')),
    async markAway({ idleMs, limit }: { idleMs: number; limit: number }) {
      expect(idleMs).toBe(30 * 60_000);
      const marked = Math.min(left, limit);
      left -= marked;
      return marked;
    },
  };
  expect(await closeStaleWebsocketsHandler({}, contextWith({ sessions }))).toMatchObject({ status: 'done', result: { closedSessions: 3, complete: true } });
  expect(await closeStaleWebsocketsHandler({}, contextWith({ sessions }))).toMatchObject({ result: { closedSessions: 0 } });
});
