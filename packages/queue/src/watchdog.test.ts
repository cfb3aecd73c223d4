import { silentLogger } from '@backhaul/runtime';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { QueueFigures } from './inspect.ts';
import { createWatchdog } from './watchdog.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setUp(figures: Partial<QueueFigures> = {}) {
  const state = { running: 0, answer: (): Promise<QueueFigures> => Promise.resolve(now), figures };
  const now = { queue: 'media', waiting: 5, active: 0, delayed: 0, paused: false, oldestWaitingSeconds: 1, meanRunMs: null, desiredWorkers: 1, ...figures };
  const watchdog = createWatchdog({
    inspector: { one: () => state.answer(), all: () => Promise.resolve([now]), progress: () => Promise.resolve(undefined), close: () => Promise.resolve() },
    queue: 'media',
    running: () => state.running,
    log: silentLogger,
  });
  return { watchdog, state };
}
const minutes = (count: number) => vi.advanceTimersByTimeAsync(count * 60_000);

test('Two minutes of waiting jobs that nobody takes are a wedged worker', async () => {
  const { watchdog } = setUp();
  await minutes(2);
  expect(watchdog.wedged()).toBeUndefined();
  await minutes(0.5);
  expect(watchdog.wedged()).toMatch(/jobs wait in media.* none was taken/);
  watchdog.stop();
});

test.each([
  ['nothing waits', { waiting: 0 }],
  ['another process runs one', { active: 1 }],
  ['the queue is paused', { paused: true }],
])('It is not wedged when %s', async (_why, figures) => {
  const { watchdog } = setUp(figures);
  await minutes(10);
  expect(watchdog.wedged()).toBeUndefined();
  watchdog.stop();
});

test('A run that ends, or one under way, is a sign of life', async () => {
  const { watchdog, state } = setUp();
  await minutes(1.9);
  watchdog.alive();
  await minutes(1.9);
  expect(watchdog.wedged()).toBeUndefined();
  state.running = 1;
  await minutes(10);
  expect(watchdog.wedged()).toBeUndefined();
  state.running = 0;
  await minutes(2.5);
  expect(watchdog.wedged()).toBeDefined();
  watchdog.alive();
  expect(watchdog.wedged()).toBeUndefined();
  watchdog.stop();
});

test.each([
  ['fails', () => Promise.reject(new Error('Redis is away'))],
  ['does not answer', () => new Promise<never>(() => undefined)],
])('A Redis that %s is no reason to restart the fleet', async (_how, answer) => {
  const { watchdog, state } = setUp();
  state.answer = answer;
  await minutes(10);
  expect(watchdog.wedged()).toBeUndefined();
  watchdog.stop();
});
