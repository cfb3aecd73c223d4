import fc from 'fast-check';
import { expect, test } from 'vitest';
import { redisOptions } from './env.ts';
import { MAX_PRIORITY, bullPriority, jobIdOf } from './job-id.ts';
import { exponential, nextDelayMs } from './retry.ts';

test('Waits double from the first, and end with the last try', () => {
  const policy = exponential({ attempts: 4, firstDelayMs: 5_000 });
  expect([1, 2, 3, 4, 5].map((failures) => nextDelayMs(policy, failures))).toEqual([5_000, 10_000, 20_000, undefined, undefined]);
});

test('A larger priority is a smaller one for BullMQ, and never 0, which would go before all', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_PRIORITY }), fc.integer({ min: 0, max: MAX_PRIORITY }), (left, right) => {
      expect(Math.sign(bullPriority(left) - bullPriority(right))).toBe(Math.sign(right - left) || 0);
    }),
  );
  for (const priority of [-1, 0, 1e9, 0.5]) expect(bullPriority(priority)).toBeGreaterThanOrEqual(1);
  expect(bullPriority(MAX_PRIORITY)).toBe(1);
});

test('Any message id makes a job id that BullMQ takes, the same each time (C-08)', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('123', 'a:b', '', '../', '{tag}', 'x'.repeat(10_000))), (messageId) => {
      expect(jobIdOf(messageId)).toMatch(/^j[0-9a-f]{40}$/);
      expect(jobIdOf(messageId)).toBe(jobIdOf(messageId));
    }),
  );
});

test('The address comes from REDIS_URL, with everything a URL can say, or from the single variables', () => {
  const single = { REDIS_HOST: 'redis', REDIS_PORT: 6380, REDIS_PASSWORD: 'p' };
  expect(redisOptions(single)).toEqual({ host: 'redis', port: 6380, password: 'p' });
  expect(redisOptions({ ...single, REDIS_URL: 'rediss://us%40er:p%2Fw@h:7/3' })).toEqual({
    host: 'h',
    port: 7,
    username: 'us@er',
    password: 'p/w',
    db: 3,
    tls: {},
  });
  expect(redisOptions({ ...single, REDIS_URL: 'redis://[::1]' })).toEqual({ host: '::1', port: 6379 });
  expect(redisOptions({ ...single, REDIS_URL: 'redis://:secret@h/' })).toEqual({ host: 'h', port: 6379, password: 'secret' });
});
