import { expect, test } from 'vitest';
import { contextWith } from '../memory-ports.ts';
import { checkHealthHandler } from './handler.ts';

const well = async () => undefined;

test('says that all is well, with latencies and open jobs', async () => {
  const queues = [{ queue: 'media', open: 3, oldestSeconds: 4 }];
  const outcome = await checkHealthHandler({}, contextWith({ health: { dependencies: { postgres: well, redis: well }, openJobs: async () => queues } }));
  expect(outcome).toMatchObject({
    status: 'done',
    result: { healthy: true, failing: [], late: [], queues, dependencies: { postgres: { ok: true, latencyMs: expect.any(Number) as number } } },
  });
});

test('a dependency that is away is reported and logged, never thrown', async () => {
  const warnings: string[] = [];
  const context = contextWith({
    health: { dependencies: { postgres: well, objectStore: () => Promise.reject(new Error('no route')) }, openJobs: async () => [] },
  });
  const outcome = await checkHealthHandler({}, { ...context, log: { ...context.log, warn: (message) => void warnings.push(message) } });
  expect(outcome).toMatchObject({
    status: 'done',
    result: { healthy: false, failing: ['objectStore'], dependencies: { objectStore: { ok: false, error: 'no route' } } },
  });
  expect(warnings).toEqual(['health check found problems']);
});

test('a queue whose oldest job is older than any job may get is named', async () => {
  const health = { dependencies: {}, openJobs: async () => [{ queue: 'media', open: 1, oldestSeconds: 1_801 }] };
  expect(await checkHealthHandler({}, contextWith({ health }))).toMatchObject({ result: { healthy: false, late: ['media'] } });
});

test('open jobs that cannot be counted are a finding as well', async () => {
  const health = { dependencies: {}, openJobs: () => Promise.reject(new Error('away')) };
  expect(await checkHealthHandler({}, contextWith({ health }))).toMatchObject({ status: 'done', result: { healthy: false, queues: [] } });
});
