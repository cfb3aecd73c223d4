import { type Logger, silentLogger } from '@backhaul/runtime';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { type JobContext, type JobDefinition, type JobHandler, defineJob, defineQueue } from './define-job.ts';
import { PermanentFailure, RetryLater, done, skipped } from './outcome.ts';
import { type Run, RunAborted, runJob } from './run-job.ts';
import { memoryLedger } from './test-ledger.ts';
import { ended } from './test-time.ts';

const job = defineJob({
  name: 'test.work',
  queue: defineQueue({ name: 'test', concurrency: 1, maxStalls: 1 }),
  payload: z.object({ n: z.number() }),
  priority: 1,
  timeoutMs: 1_000,
  retry: { attempts: 3, firstDelayMs: 5_000 },
});

type Work = (payload: { n: number }, context: JobContext<null>) => Promise<ReturnType<typeof done>>;

function setUp(work: Work, over: Partial<Run<null>> = {}) {
  const ledger = memoryLedger();
  ledger.record({ messageId: 'm1', name: 'test.work', payload: { n: 1 } });
  const errors: string[] = [];
  const log: Logger = { ...silentLogger, error: (message) => void errors.push(message), child: () => log };
  const stop = new AbortController();
  const handlers = new Map([['test.work', { job: job as unknown as JobDefinition, handler: work as JobHandler<unknown, null> }]]);
  const run = () => {
    const end = new AbortController();
    if (stop.signal.aborted) end.abort(stop.signal.reason);
    else stop.signal.addEventListener('abort', () => end.abort(stop.signal.reason), { once: true });
    return runJob<null>({ messageId: 'm1', worker: 'w', jobs: handlers, ports: null, ledger, log, end, progress: () => undefined, ...over });
  };
  return { ledger, run, stop, errors };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('How a run ends', () => {
  test('done: the result is recorded', async () => {
    const { ledger, run } = setUp(() => Promise.resolve(done({ width: 5 })));
    expect(await run()).toEqual({ status: 'done' });
    expect(ledger.of('m1')).toMatchObject({ status: 'done', result: { width: 5 } });
  });

  test('the handler is told when its message was accepted, as the record has it', async () => {
    const told: (Date | undefined)[] = [];
    const { ledger, run } = setUp((_payload, { receivedAt }) => {
      told.push(receivedAt);
      return Promise.resolve(done({}));
    });
    const { receivedAt } = ledger.of('m1');
    vi.setSystemTime(Date.now() + 60_000);
    await run();
    expect(told).toEqual([receivedAt]);
  });

  test('skipped: the reason is recorded', async () => {
    const { ledger, run } = setUp(() => Promise.resolve(skipped('message_deleted', 'by its author')));
    expect(await run()).toEqual({ status: 'skipped' });
    expect(ledger.of('m1')).toMatchObject({ status: 'skipped', result: { reason: 'message_deleted', detail: 'by its author' } });
  });

  test('PermanentFailure: a dead letter at once, by its code', async () => {
    const { ledger, run } = setUp(() => Promise.reject(new PermanentFailure('no_such_object', 'uploads/1.jpg is gone')));
    expect(await run()).toMatchObject({ status: 'dead', reason: 'no_such_object' });
    expect(ledger.of('m1')).toMatchObject({ status: 'dead', reason: 'no_such_object', error: { code: 'no_such_object', message: 'uploads/1.jpg is gone' } });
  });

  test('RetryLater: again after its delay, and no try is used up, however often', async () => {
    const { ledger, run } = setUp(() => Promise.reject(new RetryLater('rate_limited', 30_000, 'later')));
    for (let round = 0; round < 10; round += 1) expect(await run()).toEqual({ status: 'again', delayMs: 30_000, because: 'postponed' });
    expect(ledger.of('m1')).toMatchObject({ status: 'retrying', failures: 0, attempts: 10 });
  });

  test('RetryLater for more than a day: a dead letter, so that no job is postponed for ever', async () => {
    const { ledger, run } = setUp(() => Promise.reject(new RetryLater('rate_limited', 30_000, 'later')));
    ledger.of('m1').firstStartedAt = new Date(Date.now() - 25 * 3_600_000);
    // A job that lay untouched for a day is not given up at its first "later".
    for (let round = 0; round < 10; round += 1) expect(await run()).toMatchObject({ status: 'again' });
    expect(await run()).toMatchObject({ status: 'dead', reason: 'postponed_too_long' });
    expect(ledger.of('m1')).toMatchObject({ status: 'dead', reason: 'postponed_too_long' });
  });

  test.each([
    [Number.NaN, 60_000],
    [-5, 0],
    [Number.POSITIVE_INFINITY, 86_400_000],
    [1e15, 86_400_000],
  ])('RetryLater with a delay of %d is no reason to lose the job: %d ms', async (delayMs, expected) => {
    const { ledger, run } = setUp(() => Promise.reject(new RetryLater('rate_limited', delayMs, 'later')));
    expect(await run()).toMatchObject({ status: 'again', delayMs: expected });
    expect(ledger.of('m1')).toMatchObject({ status: 'retrying', delayMs: expected });
  });

  test.each([
    ['an error', new Error('broken')],
    ['a text', 'broken'],
    ['nothing', undefined],
  ])('any other throw (%s): again by the policy, then a dead letter', async (_what, thrown) => {
    const lastTries: boolean[] = [];
    const { ledger, run } = setUp((_payload, { lastTry }) => {
      lastTries.push(lastTry);
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- libraries reject with texts and nothing too: that is the case
      return Promise.reject(thrown);
    });
    expect(await run()).toEqual({ status: 'again', delayMs: 5_000, because: 'failed' });
    expect(await run()).toEqual({ status: 'again', delayMs: 10_000, because: 'failed' });
    expect(await run()).toMatchObject({ status: 'dead', reason: 'exhausted' });
    expect(lastTries).toEqual([false, false, true]);
    expect(ledger.of('m1')).toMatchObject({ status: 'dead', failures: 3 });
  });

  test('a handler that throws before its first await is a failed try too', async () => {
    const { run } = setUp(() => {
      throw new Error('at once');
    });
    expect(await run()).toMatchObject({ status: 'again', because: 'failed' });
  });

  test('out of time: its signal aborts, and it counts as a failed try; the last one is a dead letter `timeout`', async () => {
    const reasons: unknown[] = [];
    const { run } = setUp(async (_payload, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      reasons.push(signal.reason);
      throw new Error('an echo of the abort');
    });
    expect(await ended(run())).toEqual({ status: 'again', delayMs: 5_000, because: 'failed' });
    expect(await ended(run())).toMatchObject({ status: 'again', delayMs: 10_000 });
    expect(await ended(run())).toMatchObject({ status: 'dead', reason: 'timeout' });
    expect(reasons).toMatchObject([{ code: 'timeout' }, { code: 'timeout' }, { code: 'timeout' }]);
  });

  test('a handler that ignores its signal is left behind after five seconds', async () => {
    const { run, errors } = setUp(() => new Promise(() => undefined));
    const startedAt = Date.now();
    expect(await ended(run())).toMatchObject({ status: 'again', because: 'failed' });
    expect(Date.now() - startedAt).toBeLessThan(6_500);
    expect(errors).toContain('handler ignored its abort signal');
  });

  test('a handler that finishes although its signal was aborted is done', async () => {
    const { run, ledger } = setUp(async (_payload, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      return done({ late: true });
    });
    expect(await ended(run())).toEqual({ status: 'done' });
    expect(ledger.of('m1')).toMatchObject({ status: 'done', result: { late: true } });
  });

  test('the process stops: handed back, to be run at once, and no try is used up', async () => {
    const { ledger, run, stop } = setUp(
      (_payload, { signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })),
    );
    const running = run();
    await vi.advanceTimersByTimeAsync(10);
    stop.abort(new RunAborted('stopping'));
    expect(await ended(running)).toEqual({ status: 'again', delayMs: 0, because: 'handed_back' });
    expect(ledger.of('m1')).toMatchObject({ status: 'retrying', failures: 0 });
  });

  test('a run that was aborted before it began does not begin', async () => {
    const work = vi.fn<Work>(() => Promise.resolve(done()));
    const { run, stop } = setUp(work);
    stop.abort(new RunAborted('lock_lost'));
    expect(await ended(run())).toEqual({ status: 'again', delayMs: 0, because: 'handed_back' });
    expect(work).not.toHaveBeenCalled();
  });

  test('a PermanentFailure is one, also while the process stops', async () => {
    const { run, stop } = setUp(async (_payload, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      throw new PermanentFailure('rejected', 'not a picture');
    });
    const running = run();
    await vi.advanceTimersByTimeAsync(10);
    stop.abort(new RunAborted('stopping'));
    expect(await ended(running)).toMatchObject({ status: 'dead', reason: 'rejected' });
  });
});

describe('What is not run', () => {
  test('a job that is finished, or that nobody recorded', async () => {
    const work = vi.fn<Work>(() => Promise.resolve(done()));
    const { ledger, run } = setUp(work);
    ledger.of('m1').status = 'done';
    expect(await run()).toEqual({ status: 'skipped' });
    const missing = setUp(work, { messageId: 'nobody' });
    expect(await missing.run()).toEqual({ status: 'skipped' });
    expect(work).not.toHaveBeenCalled();
  });

  test('a job without a handler here: a dead letter `unknown_job`', async () => {
    const { ledger, run } = setUp(() => Promise.resolve(done()));
    ledger.of('m1').name = 'test.of-tomorrow';
    expect(await run()).toMatchObject({ status: 'dead', reason: 'unknown_job' });
  });

  test('a payload that does not fit: a dead letter `payload` that names the field and not its value', async () => {
    const { ledger, run } = setUp(() => Promise.resolve(done()));
    ledger.of('m1').payload = { n: 'hunter2' };
    expect(await run()).toMatchObject({ status: 'dead', reason: 'payload' });
    expect(ledger.of('m1').error?.message).toMatch(/^n: /);
    expect(ledger.of('m1').error?.message).not.toContain('hunter2');
  });
});

describe('The record', () => {
  test('away at the start: the job is put off, and the handler does not run', async () => {
    const work = vi.fn<Work>(() => Promise.resolve(done()));
    const { ledger, run } = setUp(work);
    ledger.away(1);
    expect(await run()).toEqual({ status: 'again', delayMs: 3_000, because: 'unrecorded' });
    expect(work).not.toHaveBeenCalled();
  });

  test('away at the end: it is written once it is back, and the work is not repeated', async () => {
    const { ledger, run } = setUp(() => {
      ledger.away(4);
      return Promise.resolve(done({ once: true }));
    });
    expect(await ended(run())).toEqual({ status: 'done' });
    expect(ledger.of('m1')).toMatchObject({ status: 'done', result: { once: true } });
  });

  test('away for long at the end: the job runs again', async () => {
    const { ledger, run } = setUp(() => {
      ledger.away(1_000);
      return Promise.resolve(done());
    });
    expect(await ended(run())).toEqual({ status: 'again', delayMs: 3_000, because: 'unrecorded' });
    expect(ledger.of('m1')).toMatchObject({ status: 'active' });
  });

  test('taken over by a later run: the end of the earlier one changes nothing', async () => {
    const { ledger, run } = setUp(async () => {
      await ledger.start('m1', 'another worker');
      return done({ stale: true });
    });
    await run();
    expect(ledger.of('m1')).toMatchObject({ status: 'active', attempts: 2, result: undefined });
  });

  test('taken over by a later run: a failure of the earlier one is no dead letter', async () => {
    const { ledger, run } = setUp(async () => {
      await ledger.start('m1', 'another worker');
      throw new PermanentFailure('rejected', 'no');
    });
    expect(await run()).toEqual({ status: 'skipped' });
    expect(ledger.of('m1')).toMatchObject({ status: 'active', reason: undefined });
  });

  test('being written while the process stops is no handler that ignores its signal', async () => {
    const { ledger, run, stop, errors } = setUp(() => {
      ledger.away(6);
      return Promise.resolve(done());
    });
    const running = run();
    await vi.advanceTimersByTimeAsync(10);
    stop.abort(new RunAborted('stopping'));
    expect(await ended(running)).toEqual({ status: 'done' });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(errors).toEqual([]);
  });
});
