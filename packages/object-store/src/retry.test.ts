import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { retried } from './retry.ts';
import { S3Refusal, StrangeAnswer } from './s3-refusal.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function refusal(status: number, code?: string, retryAfterMs?: number): S3Refusal {
  return new S3Refusal('scripted', { status, code, requestId: undefined, retryAfterMs, storeTimeMs: undefined });
}

/** How often it is tried, and how long the pauses are together. */
async function tries(error: Error, attempts = 3, signal = new AbortController().signal): Promise<{ times: number; pausedMs: number }> {
  let times = 0;
  const startedAt = Date.now();
  const result = retried(attempts, signal, async () => {
    times += 1;
    throw error;
  });
  const failure = result.catch((thrown: unknown) => thrown);
  await vi.runAllTimersAsync();
  expect(await failure).toBe(error);
  return { times, pausedMs: Date.now() - startedAt };
}

test.each([
  ['no answer', Object.assign(new Error('x'), { code: 'ECONNREFUSED' })],
  ['408', refusal(408)],
  ['409', refusal(409, 'ConditionalRequestConflict')],
  ['425', refusal(425)],
  ['429', refusal(429)],
  ['500', refusal(500, 'InternalError')],
  ['502 of a proxy', new StrangeAnswer(502, 'the answer is not one of S3')],
  ['503', refusal(503, 'SlowDown')],
  ['504', refusal(504)],
  ['a request that came too slowly', refusal(400, 'RequestTimeout')],
  ['throttling', refusal(400, 'ThrottlingException')],
  ['an error in an answer of 200', refusal(200, 'InternalError')],
])('%s is tried again, as often as allowed', async (_what, error) => {
  expect(await tries(error)).toMatchObject({ times: 3 });
  expect(await tries(error, 1)).toEqual({ times: 1, pausedMs: 0 });
});

test.each([
  ['301', refusal(301, 'PermanentRedirect')],
  ['400', refusal(400, 'InvalidRequest')],
  ['403', refusal(403, 'AccessDenied')],
  ['404', refusal(404, 'NoSuchKey')],
  ['412', refusal(412, 'PreconditionFailed')],
  ['501', refusal(501, 'NotImplemented')],
  ['403 of a proxy', new StrangeAnswer(403, 'the answer is not one of S3')],
  ['a file that is gone', Object.assign(new Error('x'), { code: 'ENOENT' })],
  ['a key that cannot be written', new URIError('URI malformed')],
])('%s is final', async (_what, error) => {
  expect(await tries(error)).toEqual({ times: 1, pausedMs: 0 });
});

test('the pauses grow, are scattered from nothing, and are longer when the store is busy', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.999);
  expect((await tries(refusal(500), 4)).pausedMs).toBeCloseTo(700, -1);
  expect((await tries(refusal(503), 3)).pausedMs).toBeCloseTo(1_500, -1);
  vi.spyOn(Math, 'random').mockReturnValue(0);
  expect((await tries(refusal(503), 4)).pausedMs).toBeLessThan(10);
  vi.restoreAllMocks();
});

test('the store is waited for as long as it asks, but no longer than the job can', async () => {
  const { pausedMs } = await tries(refusal(503, 'SlowDown', 2_000), 2);
  expect(pausedMs).toBe(2_000);
  expect((await tries(refusal(503, 'SlowDown', 60_000), 2)).pausedMs).toBe(3_000);
});

test('nothing is tried again once the caller has given up', async () => {
  const caller = new AbortController();
  let times = 0;
  const error = refusal(503, 'SlowDown', 2_000);
  const failure = retried(3, caller.signal, async () => {
    times += 1;
    setTimeout(() => caller.abort(), 1_000);
    throw error;
  }).catch((thrown: unknown) => thrown);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await failure).toBe(error);
  expect(times).toBe(1);
});
