import { type Logger, pause, silentLogger } from '@backhaul/runtime';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { type BatchAnswer, type BatchHandler, type JobDefinition, type JobHandler, defineJob, defineQueue } from './define-job.ts';
import { PermanentFailure, RetryLater, done, skipped } from './outcome.ts';
import { type BatchResult, runBatch } from './run-batch.ts';
import { type EnvelopeRun, runEnvelope } from './run-envelope.ts';
import { RunAborted, runJob, runOpened } from './run-job.ts';
import { memoryLedger } from './test-ledger.ts';

const job = defineJob({
  name: 'test.work',
  queue: defineQueue({ name: 'test', concurrency: 1, maxStalls: 1 }),
  payload: z.object({ n: z.number() }),
  priority: 1,
  timeoutMs: 5_000,
  retry: { attempts: 3, firstDelayMs: 5_000 },
});

/** What a try of a message's job does. */
type Try = 'done' | 'slow' | 'skipped' | 'later' | 'fails' | 'permanent' | 'hangs' | 'handed_back';
/** What the batch of its envelope does with a message in its first run. */
type InBatch = 'ends' | 'goes_on' | 'is_left_out';
/** One message. */
interface Script {
  readonly inBatch: InBatch;
  readonly tries: readonly Try[];
}
/** What must have become of a job whose tries were these, done for good after the last of them. */
function expected({ inBatch, tries }: Script): { status: string; runs: number } {
  if (inBatch === 'ends') return { status: 'done', runs: 1 };
  let failures = 0;
  for (const [index, each] of tries.entries()) {
    const runs = index + 1;
    if (each === 'done' || each === 'slow') return { status: 'done', runs };
    if (each === 'skipped') return { status: 'skipped', runs };
    if (each === 'permanent') return { status: 'dead', runs };
    if (each === 'fails' || each === 'hangs') failures += 1;
    if (failures === job.retry.attempts) return { status: 'dead', runs };
  }
  return { status: 'done', runs: tries.length + 1 };
}

/** Redis in memory: envelopes and the Bull jobs that leave them, worked off until nothing is left. `stuck`: so many Bull jobs cannot be taken back. */
async function workOff(scripts: readonly Script[], size: number, recordAway: number, stuck: number): Promise<Map<string, number>> {
  const ledger = memoryLedger();
  const runs = new Map<string, number>();
  const running = new Set<string>();
  /** Those whose first run was, at least in part, their batch's. */
  const batched = new Set<string>();
  scripts.forEach((_script, n) => ledger.record({ messageId: `m${n}`, name: job.name, payload: { n }, carrier: `e${Math.floor(n / size)}` }));
  ledger.away(recordAway);
  const stops = new Map<string, AbortController>();
  const handler: JobHandler<unknown, null> = async (payload, { messageId, signal }) => {
    const { n } = payload as { n: number };
    // Two runs of one message at once would be two sends.
    expect(running.has(messageId)).toBe(false);
    running.add(messageId);
    try {
      const run = runs.get(messageId) ?? 0;
      runs.set(messageId, run + 1);
      const each = scripts[n]?.tries[run] ?? 'done';
      await Promise.resolve();
      switch (each) {
        case 'done':
          return done({ n });
        case 'slow':
          await pause(3_000);
          return done({ n });
        case 'skipped':
          return skipped('nothing_to_do');
        case 'later':
          throw new RetryLater('rate_limited', 2_000, 'later');
        case 'fails':
          throw new Error('broken');
        case 'permanent':
          throw new PermanentFailure('rejected', 'no');
        case 'hangs':
          return await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
        case 'handed_back':
          stops.get(messageId)?.abort(new RunAborted('stopping'));
          throw signal.reason;
      }
    } finally {
      running.delete(messageId);
    }
  };
  const goesOn: JobHandler<unknown, null> = (payload, context) => {
    expect(runs.has(context.messageId)).toBe(false);
    batched.add(context.messageId);
    return handler(payload, context);
  };
  const batch: BatchHandler<unknown, null> = async (messages) => {
    await pause(100);
    const answers = new Map<string, BatchAnswer<unknown, null>>();
    for (const { messageId, payload } of messages) {
      const { n } = payload as { n: number };
      const inBatch = scripts[n]?.inBatch;
      if (inBatch === 'goes_on') answers.set(messageId, goesOn);
      if (inBatch !== 'ends') continue;
      runs.set(messageId, (runs.get(messageId) ?? 0) + 1);
      batched.add(messageId);
      answers.set(messageId, done({ n }));
    }
    return answers;
  };
  const log: Logger = silentLogger;
  const definition = job as unknown as JobDefinition;
  const jobs = new Map([[job.name, { job: definition, handler }]]);
  const shared = (messageId: string) => {
    const end = new AbortController();
    stops.set(messageId, end);
    return { messageId, jobs, ports: null, log, end, progress: () => undefined };
  };
  /** Both parts of an envelope's run, as the worker joins them. */
  const parts = (): Pick<EnvelopeRun, 'runBatch' | 'runOne'> => {
    let goOn: BatchResult<null>['goOn'] = new Map();
    return {
      async runBatch(opened, closings) {
        const result = await runBatch({ job: definition, batch, opened, closings, ports: null, log, end: new AbortController() });
        goOn = result.goOn;
        return result.ended;
      },
      runOne: (messageId, opened, closings) => runOpened({ ...shared(messageId), goOn: goOn.get(messageId) }, closings, opened),
    };
  };
  const alone = new BullJobs(stuck);
  for (let index = 0; index * size < scripts.length; index += 1) {
    const messageIds = scripts.map((_script, n) => `m${n}`).slice(index * size, (index + 1) * size);
    for (let againInMs: number | undefined = 0; againInMs !== undefined;)
      againInMs = await runEnvelope({ ...alone.envelope, id: `e${index}`, messageIds, worker: 'w', ledger, log, ...parts() });
  }
  for (let messageId = await alone.next(); messageId !== undefined; messageId = await alone.next()) {
    const result = await runJob({ ...shared(messageId), worker: 'w', ledger });
    if (result.status === 'again') await alone.envelope.addAlone(messageId, job.name, result.delayMs);
  }
  scripts.forEach((script, n) => {
    const messageId = `m${n}`;
    const came = { ...script, status: ledger.of(messageId).status, runs: runs.get(messageId), batched: batched.has(messageId) };
    expect(came).toEqual({ ...script, ...expected(script), batched: script.inBatch !== 'is_left_out' });
  });
  return runs;
}

/** The Bull jobs of single messages, by when they are due. An id that is there is not added again. */
class BullJobs {
  readonly dueAt = new Map<string, number>();
  readonly #left = new Set<Promise<unknown>>();
  #stuck: number;
  /** What an envelope asks of the queue. */
  readonly envelope: Pick<EnvelopeRun, 'runBatch' | 'addAlone' | 'removeAlone' | 'mayLeave' | 'left'> = {
    runBatch: async () => new Map(),
    addAlone: async (messageId, _name, delayMs) => {
      if (!this.dueAt.has(messageId)) this.dueAt.set(messageId, Date.now() + delayMs);
    },
    removeAlone: async (messageId) => {
      if (this.#stuck > 0) {
        this.#stuck -= 1;
        throw new Error('Redis is away');
      }
      this.dueAt.delete(messageId);
    },
    mayLeave: () => true,
    left: (_count, ended) => {
      this.#left.add(ended);
      void ended.finally(() => this.#left.delete(ended));
    },
  };

  constructor(stuck = 0) {
    this.#stuck = stuck;
  }

  /** Takes the next one that is due, or waits for it; undefined when nothing is there and nothing runs. */
  async next(): Promise<string | undefined> {
    for (; this.dueAt.size > 0 || this.#left.size > 0; await pause(100)) {
      for (const [messageId, dueAt] of this.dueAt) {
        if (dueAt > Date.now()) continue;
        this.dueAt.delete(messageId);
        return messageId;
      }
    }
    return undefined;
  }
}

/** Ten messages of one envelope, of which some wait until they are let go. */
function tenOf(slow: readonly string[]) {
  const ledger = memoryLedger();
  const messageIds = Array.from({ length: 10 }, (_, n) => `m${n}`);
  for (const messageId of messageIds) ledger.record({ messageId, name: job.name, payload: { n: 1 }, carrier: 'e10' });
  const { promise: answer, resolve: letGo } = Promise.withResolvers<void>();
  const handler: JobHandler<unknown, null> = async (_payload, { messageId }) => {
    if (slow.includes(messageId)) await answer;
    return done();
  };
  const jobs = new Map([[job.name, { job: job as unknown as JobDefinition, handler }]]);
  const alone = new BullJobs();
  const run: EnvelopeRun = {
    ...alone.envelope,
    id: 'e10',
    messageIds,
    worker: 'w',
    ledger,
    log: silentLogger,
    runOne: (messageId, opened, closings) =>
      runOpened({ messageId, jobs, ports: null, log: silentLogger, end: new AbortController(), progress: () => undefined }, closings, opened),
  };
  return { ledger, alone, run, letGo };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Lets the fake time pass until `work` ends. */
async function passing<Result>(work: Promise<Result>): Promise<Result> {
  const state = { over: false };
  void work.catch(() => undefined).finally(() => (state.over = true));
  while (!state.over) await vi.advanceTimersByTimeAsync(500);
  return work;
}

test('Each message of an envelope ends once and by its own answers, in its batch or after it, whatever its neighbours get', async () => {
  const tries = fc.array(fc.constantFrom<Try>('done', 'slow', 'skipped', 'later', 'fails', 'permanent', 'hangs', 'handed_back'), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ inBatch: fc.constantFrom<InBatch>('ends', 'goes_on', 'is_left_out'), tries }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: 0, max: 2 }),
      async (scripts, size, away, stuck) => {
        await passing(workOff(scripts, size, away, stuck));
      },
    ),
    {
      numRuns: 150,
      // One that is handed back, and one that fails, go on from the same batch at the same moment.
      examples: [
        [
          [
            { inBatch: 'goes_on', tries: ['handed_back'] },
            { inBatch: 'goes_on', tries: ['fails', 'fails', 'fails'] },
          ],
          2,
          0,
          0,
        ],
      ],
    },
  );
});

test('A message that waits for its provider does not hold up the record of its neighbours', async () => {
  const ledger = memoryLedger();
  for (const messageId of ['slow', 'fast']) ledger.record({ messageId, name: job.name, payload: { n: 1 }, carrier: 'e2' });
  let answer: () => void = () => undefined;
  const handler: JobHandler<unknown, null> = async (_payload, { messageId }) => {
    if (messageId === 'slow') await new Promise<void>((resolve) => (answer = resolve));
    return done();
  };
  const jobs = new Map([[job.name, { job: job as unknown as JobDefinition, handler }]]);
  const running = runEnvelope({
    id: 'e2',
    messageIds: ['slow', 'fast', 'of another envelope'],
    worker: 'w',
    ledger,
    log: silentLogger,
    runOne: (messageId, opened, closings) =>
      runOpened({ messageId, jobs, ports: null, log: silentLogger, end: new AbortController(), progress: () => undefined }, closings, opened),
    ...new BullJobs().envelope,
  });
  await vi.advanceTimersByTimeAsync(10);
  expect([ledger.of('fast').status, ledger.of('slow').status]).toEqual(['done', 'queued']);
  answer();
  expect(await running).toBeUndefined();
  expect(ledger.of('slow').status).toBe('done');
});

test('A Bull job that cannot be added is left to the reconciler, and the envelope ends', async () => {
  const ledger = memoryLedger();
  ledger.record({ messageId: 'm', name: job.name, payload: { n: 1 }, carrier: 'e2' });
  const handler: JobHandler<unknown, null> = () => Promise.reject(new Error('broken'));
  const jobs = new Map([[job.name, { job: job as unknown as JobDefinition, handler }]]);
  const warnings: string[] = [];
  const againInMs = await runEnvelope({
    id: 'e2',
    messageIds: ['m'],
    worker: 'w',
    ledger,
    log: { ...silentLogger, warn: (message) => void warnings.push(message) },
    runOne: (messageId, opened, closings) =>
      runOpened({ messageId, jobs, ports: null, log: silentLogger, end: new AbortController(), progress: () => undefined }, closings, opened),
    ...new BullJobs().envelope,
    addAlone: () => Promise.reject(new Error('Redis is away')),
  });
  expect(againInMs).toBeUndefined();
  expect(warnings).toEqual(['a job that is to run again is not in the queue yet: it will be reconciled']);
  expect(ledger.of('m')).toMatchObject({ status: 'retrying', carrier: null, delayMs: 5_000 });
});

test('A message that takes much longer than its neighbours gives up their place, and goes on; a Bull job of its own stands by until it has ended', async () => {
  const { ledger, alone, run, letGo } = tenOf(['m3']);
  const ended = runEnvelope(run);
  const state = { over: false };
  void ended.then(() => (state.over = true));
  await vi.advanceTimersByTimeAsync(249);
  expect(state.over).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(await ended).toBeUndefined();
  // Longer than a run may take: it is not run twice at once.
  expect([...alone.dueAt]).toEqual([['m3', Date.now() + 120_000]]);
  expect(ledger.of('m3')).toMatchObject({ status: 'queued', carrier: null });
  letGo();
  expect(await passing(alone.next())).toBeUndefined();
  expect(ledger.of('m3')).toMatchObject({ status: 'done', attempts: 1 });
});

test('When all but one end in their batch, the slow one gives up their place as it does without a batch', async () => {
  const { ledger, alone, run, letGo } = tenOf(['m3']);
  const batch: BatchHandler<unknown, null> = async (messages) => {
    await pause(200);
    return new Map(messages.flatMap(({ messageId }) => (messageId === 'm3' ? [] : [[messageId, done()] as const])));
  };
  const ended = runEnvelope({
    ...run,
    async runBatch(opened, closings) {
      const end = new AbortController();
      return (await runBatch({ job: job as unknown as JobDefinition, batch, opened, closings, ports: null, log: silentLogger, end })).ended;
    },
  });
  const state = { over: false };
  void ended.then(() => (state.over = true));
  // Three times as long as the others took.
  await vi.advanceTimersByTimeAsync(599);
  expect([state.over, alone.dueAt.size]).toEqual([false, 0]);
  await vi.advanceTimersByTimeAsync(1);
  expect(await ended).toBeUndefined();
  expect([...alone.dueAt]).toEqual([['m3', Date.now() + 120_000]]);
  expect(ledger.of('m2')).toMatchObject({ status: 'done', attempts: 1, carrier: 'e10' });
  expect(ledger.of('m3')).toMatchObject({ status: 'queued', carrier: null });
  letGo();
  expect(await passing(alone.next())).toBeUndefined();
  expect(ledger.of('m3')).toMatchObject({ status: 'done', attempts: 1 });
});

test('Several slow messages keep the place: it is the provider that is slow, and more must not be begun', async () => {
  const { alone, run, letGo } = tenOf(['m3', 'm4']);
  const ended = runEnvelope(run);
  const state = { over: false };
  void ended.then(() => (state.over = true));
  await vi.advanceTimersByTimeAsync(4_000);
  expect([state.over, alone.dueAt.size]).toEqual([false, 0]);
  letGo();
  expect(await ended).toBeUndefined();
});

test.each<[string, Partial<EnvelopeRun>]>([
  ['its own Bull job cannot be added', { addAlone: () => Promise.reject(new Error('Redis is away')) }],
  ['too many have left already', { mayLeave: () => false }],
])('A slow message keeps the place when %s', async (_why, queue) => {
  const { ledger, run, letGo } = tenOf(['m3']);
  const ended = runEnvelope({ ...run, ...queue });
  const state = { over: false };
  void ended.then(() => (state.over = true));
  await vi.advanceTimersByTimeAsync(4_000);
  expect(state.over).toBe(false);
  expect(ledger.of('m3').carrier).toBe('e10');
  letGo();
  expect(await ended).toBeUndefined();
  expect(ledger.of('m3').status).toBe('done');
});
