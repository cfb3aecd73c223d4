import { type Logger, pause, silentLogger } from '@backhaul/runtime';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { type BatchAnswer, type BatchHandler, type JobContext, type JobDefinition, defineJob, defineQueue } from './define-job.ts';
import { PermanentFailure, TimedOut, done, skipped } from './outcome.ts';
import { type BatchRun, runBatch } from './run-batch.ts';
import { RunAborted } from './run-job.ts';
import { memoryLedger } from './test-ledger.ts';
import { ended } from './test-time.ts';

const job = defineJob({
  name: 'test.work',
  queue: defineQueue({ name: 'test', concurrency: 1, maxStalls: 1 }),
  payload: z.object({ n: z.number() }),
  priority: 1,
  timeoutMs: 5_000,
  retry: { attempts: 3, firstDelayMs: 5_000 },
});

type Batch = BatchHandler<{ n: number }, null>;
type Answer = BatchAnswer<{ n: number }, null>;

/** The messages a, b and c of one envelope, on record and not opened yet. */
function setUp(batch: Batch) {
  const ledger = memoryLedger();
  ['a', 'b', 'c'].forEach((messageId, n) => ledger.record({ messageId, name: job.name, payload: { n }, carrier: 'e3' }));
  const said: string[] = [];
  const log: Logger = { ...silentLogger, warn: (message) => void said.push(message), error: (message) => void said.push(message), child: () => log };
  const end = new AbortController();
  /** The messages that were closed, by statement. */
  const statements: string[][] = [];
  const run = async () => {
    const { jobs: opened, closings } = await ledger.startCarried(['a', 'b', 'c'], 'e3', 'w');
    const finishAll: BatchRun<null>['closings']['finishAll'] = (finishes) => {
      statements.push(finishes.map(({ messageId }) => messageId));
      return closings.finishAll(finishes);
    };
    return runBatch<null>({
      job: job as unknown as JobDefinition,
      batch: batch as BatchHandler<unknown, null>,
      opened,
      closings: { finishAll },
      ports: null,
      log,
      end,
    });
  };
  return { ledger, run, end, statements, said };
}

/** The same answer for each message. */
const each = (messages: readonly { readonly messageId: string }[], answer: Answer) => new Map(messages.map(({ messageId }) => [messageId, answer]));

/** What a handler is given that goes on with b. */
function contextOf(signal: AbortSignal): JobContext<null> {
  return { ports: null, signal, log: silentLogger, messageId: 'b', attempt: 1, lastTry: false, progress: () => undefined };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('How a batch ends', () => {
  test('What it brings to an end is closed in one statement, each message by its own answer', async () => {
    const { ledger, run, statements } = setUp((messages) =>
      Promise.resolve(new Map(messages.map(({ messageId, payload: { n } }) => [messageId, n === 1 ? skipped('nothing_to_do', 'there') : done({ n })]))),
    );
    expect(await run()).toEqual({
      ended: new Map([
        ['a', { status: 'done' }],
        ['b', { status: 'skipped' }],
        ['c', { status: 'done' }],
      ]),
      goOn: new Map(),
    });
    expect(statements).toEqual([['a', 'b', 'c']]);
    expect(ledger.of('a')).toMatchObject({ status: 'done', attempts: 1, result: { n: 0 } });
    expect(ledger.of('b')).toMatchObject({ status: 'skipped', attempts: 1, result: { reason: 'nothing_to_do', detail: 'there' } });
    expect(ledger.of('c')).toMatchObject({ status: 'done', attempts: 1, result: { n: 2 } });
  });

  test('A handler is told when each of its messages was accepted', async () => {
    const told: (readonly [string, Date])[] = [];
    const { ledger, run } = setUp((messages) => {
      told.push(...messages.map(({ messageId, receivedAt }) => [messageId, receivedAt] as const));
      return Promise.resolve(new Map());
    });
    ledger.of('b').receivedAt = new Date(5_000);
    await run();
    expect(told).toEqual(['a', 'b', 'c'].map((messageId) => [messageId, ledger.of(messageId).receivedAt]));
  });

  test('A message that goes on is left open, one without an answer as well, and nothing is written for either', async () => {
    const answer: Answer = ({ n }) => Promise.resolve(done({ n, by: 'what the batch left' }));
    const { ledger, run, statements } = setUp(() => Promise.resolve(new Map([['b', answer]])));
    const { ended: over, goOn } = await run();
    expect([[...over.keys()], [...goOn.keys()], statements]).toEqual([[], ['b'], []]);
    expect(ledger.of('b')).toMatchObject({ status: 'queued', attempts: 0 });
    expect(await goOn.get('b')?.({ n: 7 }, contextOf(new AbortController().signal))).toEqual(done({ n: 7, by: 'what the batch left' }));
  });

  test('A batch that throws leaves all of its messages to runs of their own', async () => {
    const { ledger, run, statements, said } = setUp(() => Promise.reject(new Error('broken')));
    expect(await run()).toEqual({ ended: new Map(), goOn: new Map() });
    expect(statements).toEqual([]);
    expect(['a', 'b', 'c'].map((messageId) => ledger.of(messageId).status)).toEqual(['queued', 'queued', 'queued']);
    expect(said).toEqual(['a batch handler failed']);
  });

  test('The ends are written as soon as the record is back', async () => {
    const { ledger, run, statements } = setUp((messages) => {
      ledger.away(3);
      return Promise.resolve(each(messages, done()));
    });
    const { ended: over } = await ended(run());
    expect([...over.values()]).toEqual([{ status: 'done' }, { status: 'done' }, { status: 'done' }]);
    expect(statements).toHaveLength(4);
    expect(ledger.of('c')).toMatchObject({ status: 'done', attempts: 1 });
  });

  test('Ends that cannot be written at all are to come again; what goes on goes on', async () => {
    const goesOn: Answer = () => Promise.resolve(done());
    const { ledger, run, said } = setUp((messages) => {
      ledger.away(10_000);
      return Promise.resolve(each(messages, done()).set('b', goesOn));
    });
    const { ended: over, goOn } = await ended(run());
    const again = { status: 'again', delayMs: 3_000, because: 'unrecorded' };
    expect([...over]).toEqual([
      ['a', again],
      ['c', again],
    ]);
    expect([...goOn.keys()]).toEqual(['b']);
    expect(said).toEqual(['the end of the run could not be recorded, the job will run again']);
    expect(ledger.of('a')).toMatchObject({ status: 'queued', attempts: 0 });
  });

  test('A message that another run has taken over is that run’s to close', async () => {
    const { ledger, run, said } = setUp(async (messages) => {
      await ledger.start('b', 'another');
      return each(messages, done());
    });
    const { ended: over } = await run();
    expect([...over]).toEqual([
      ['a', { status: 'done' }],
      ['b', { status: 'skipped' }],
      ['c', { status: 'done' }],
    ]);
    expect(said).toEqual(['the run was superseded, its end is not recorded']);
    expect(ledger.of('b')).toMatchObject({ status: 'active', attempts: 1, result: undefined });
  });
});

test('A message in a later run, or with a payload that is refused, is not given to the batch', async () => {
  const given: string[] = [];
  const { ledger, run } = setUp((messages) => {
    given.push(...messages.map(({ messageId }) => messageId));
    return Promise.resolve(each(messages, done()));
  });
  ledger.of('b').attempts = 1;
  ledger.of('c').payload = { n: 'three' };
  const { ended: over, goOn } = await run();
  expect([given, [...over.keys()], [...goOn.keys()]]).toEqual([['a'], ['a'], []]);
  expect(['a', 'b', 'c'].map((messageId) => ledger.of(messageId).status)).toEqual(['done', 'queued', 'queued']);
});

describe('The signal of a batch', () => {
  /** Its batch begins something for b that ends by the signal, and is not waited for. */
  function begun() {
    const began: { ended?: unknown } = {};
    const setting = setUp((_messages, { signal }) => {
      signal.addEventListener('abort', () => (began.ended = signal.reason as unknown), { once: true });
      return Promise.resolve(new Map<string, Answer>([['b', () => new Promise(() => undefined)]]));
    });
    return { ...setting, began };
  }

  test('Whoever goes on with a message can end what the batch began', async () => {
    const { run, began } = begun();
    const { goOn } = await run();
    const end = new AbortController();
    void goOn.get('b')?.({ n: 1 }, contextOf(end.signal));
    expect(began.ended).toBeUndefined();
    const reason = new RunAborted('stopping');
    end.abort(reason);
    expect(began.ended).toBe(reason);
  });

  test('So can a run that must end before it has gone on', async () => {
    const { run, began } = begun();
    const { goOn } = await run();
    const reason = new RunAborted('stopping');
    void goOn.get('b')?.({ n: 1 }, contextOf(AbortSignal.abort(reason)));
    expect(began.ended).toBe(reason);
  });

  test('What goes on after an abort is handed back, whatever it throws, unless that is for good', async () => {
    const answers: ReadonlyMap<string, Answer> = new Map([
      ['a', () => Promise.reject(new Error('the send was ended'))],
      ['b', () => Promise.reject(new PermanentFailure('rejected', 'no'))],
    ]);
    const reason = new RunAborted('stopping');
    const { run, end } = setUp(() => {
      end.abort(reason);
      return Promise.resolve(answers);
    });
    const { goOn } = await run();
    const goingOn = (messageId: string) => goOn.get(messageId)?.({ n: 1 }, contextOf(new AbortController().signal));
    await expect(goingOn('a')).rejects.toBe(reason);
    await expect(goingOn('b')).rejects.toMatchObject({ code: 'rejected' });
    await expect(goingOn('c')).rejects.toBe(reason);
  });

  test('What one message throws once another is stopped is its own', async () => {
    const { run } = setUp(() => Promise.resolve(new Map<string, Answer>(['a', 'b'].map((id) => [id, () => Promise.reject(new Error(`${id} is broken`))]))));
    const { goOn } = await run();
    await expect(goOn.get('a')?.({ n: 1 }, contextOf(AbortSignal.abort(new RunAborted('stopping'))))).rejects.toThrow('a is broken');
    await expect(goOn.get('b')?.({ n: 1 }, contextOf(new AbortController().signal))).rejects.toThrow('b is broken');
  });

  test('A batch that takes no notice of it is given up after a while, and none of its messages is begun anew beside it', async () => {
    const { run, end, said } = setUp(() => new Promise(() => undefined));
    const running = run();
    await vi.advanceTimersByTimeAsync(10);
    const reason = new RunAborted('stopping');
    end.abort(reason);
    const { ended: over, goOn } = await ended(running);
    expect([over.size, said]).toEqual([0, ['a batch handler failed']]);
    for (const messageId of ['a', 'b', 'c']) await expect(goOn.get(messageId)?.({ n: 1 }, contextOf(end.signal))).rejects.toBe(reason);
  });

  test('Aborted before it begins, a batch is not begun', async () => {
    let begun = 0;
    const { run, end } = setUp((messages) => {
      begun += 1;
      return Promise.resolve(each(messages, done()));
    });
    end.abort(new RunAborted('lock_lost'));
    const { ended: over, goOn } = await run();
    expect([begun, over.size, [...goOn.keys()]]).toEqual([0, 0, ['a', 'b', 'c']]);
  });

  test('It aborts when the time of the job is over; what the batch has ended by then is closed', async () => {
    const { ledger, run, end } = setUp(
      (_messages, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(new Map([['a', done()]])), { once: true })),
    );
    const running = run();
    await vi.advanceTimersByTimeAsync(4_999);
    expect(end.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(end.signal.reason).toEqual(new TimedOut(5_000));
    expect(end.signal.reason).toBeInstanceOf(TimedOut);
    expect([...(await running).ended]).toEqual([['a', { status: 'done' }]]);
    expect([ledger.of('a').status, ledger.of('b').status]).toEqual(['done', 'queued']);
  });

  test('It does not abort what goes on after the batch: that has a time limit of its own', async () => {
    const { run, began, end } = begun();
    const { goOn } = await run();
    void goOn.get('b')?.({ n: 1 }, contextOf(new AbortController().signal));
    await vi.advanceTimersByTimeAsync(60_000);
    expect([end.signal.aborted, began.ended]).toEqual([false, undefined]);
  });

  test('It aborts from outside, and the batch may still answer', async () => {
    const { run, end } = setUp(async (messages, { signal }) => {
      while (!signal.aborted) await pause(100);
      return each(messages, skipped('stopped'));
    });
    const running = run();
    await vi.advanceTimersByTimeAsync(1_000);
    end.abort(new RunAborted('stopping'));
    expect([...(await ended(running)).ended.values()]).toEqual([{ status: 'skipped' }, { status: 'skipped' }, { status: 'skipped' }]);
  });
});
