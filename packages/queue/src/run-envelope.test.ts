import { type Logger, silentLogger } from '@backhaul/runtime';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { type JobDefinition, type JobHandler, defineJob, defineQueue } from './define-job.ts';
import { PermanentFailure, RetryLater, done, skipped } from './outcome.ts';
import { runEnvelope } from './run-envelope.ts';
import { RunAborted, runJob, runOpened } from './run-job.ts';
import { memoryLedger } from './test-ledger.ts';

const job = defineJob({
  name: 'test.work',
  queue: defineQueue({ name: 'test', concurrency: 1, maxStalls: 1 }),
  payload: z.object({ n: z.number() }),
  priority: 1,
  timeoutMs: 1_000,
  retry: { attempts: 3, firstDelayMs: 5_000 },
});

/** What a try of a message's job does. */
type Try = 'done' | 'skipped' | 'later' | 'fails' | 'permanent' | 'hangs' | 'handed_back';
/** What must have become of a job whose tries were these, done for good after the last of them. */
function expected(tries: readonly Try[]): { status: string; runs: number } {
  let failures = 0;
  for (const [index, each] of tries.entries()) {
    const runs = index + 1;
    if (each === 'done' || each === 'skipped') return { status: each, runs };
    if (each === 'permanent') return { status: 'dead', runs };
    if (each === 'fails' || each === 'hangs') failures += 1;
    if (failures === job.retry.attempts) return { status: 'dead', runs };
  }
  return { status: 'done', runs: tries.length + 1 };
}

/** Redis in memory: an envelope and the Bull jobs that leave it, worked off until nothing is left. */
async function workOff(scripts: readonly (readonly Try[])[], size: number, recordAway: number): Promise<Map<string, number>> {
  const ledger = memoryLedger();
  const runs = new Map<string, number>();
  const running = new Set<string>();
  scripts.forEach((_tries, n) => ledger.record({ messageId: `m${n}`, name: job.name, payload: { n }, carrier: `e${Math.floor(n / size)}` }));
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
      const each = scripts[n]?.[run] ?? 'done';
      await Promise.resolve();
      switch (each) {
        case 'done':
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
  const log: Logger = silentLogger;
  const jobs = new Map([[job.name, { job: job as unknown as JobDefinition, handler }]]);
  const shared = (messageId: string) => {
    const end = new AbortController();
    stops.set(messageId, end);
    return { messageId, jobs, ports: null, log, end, progress: () => undefined };
  };
  const alone: string[] = [];
  for (let index = 0; index * size < scripts.length; index += 1) {
    const messageIds = scripts.map((_tries, n) => `m${n}`).slice(index * size, (index + 1) * size);
    for (let againInMs: number | undefined = 0; againInMs !== undefined;)
      againInMs = await runEnvelope({
        id: `e${index}`,
        messageIds,
        worker: 'w',
        ledger,
        log,
        runOne: (messageId, opened, closings) => runOpened(shared(messageId), closings, opened),
        addAlone: (messageId) => Promise.resolve(void alone.push(messageId)),
      });
  }
  for (let messageId = alone.shift(); messageId !== undefined; messageId = alone.shift()) {
    const result = await runJob({ ...shared(messageId), worker: 'w', ledger });
    if (result.status === 'again') alone.push(messageId);
  }
  scripts.forEach((tries, n) => {
    const messageId = `m${n}`;
    expect({ status: ledger.of(messageId).status, runs: runs.get(messageId) }, `${messageId}: ${tries.join(', ')}`).toEqual(expected(tries));
  });
  return runs;
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

test('Each message of an envelope ends once and by its own answers, whatever its neighbours get', async () => {
  const tries = fc.array(fc.constantFrom<Try>('done', 'skipped', 'later', 'fails', 'permanent', 'hangs', 'handed_back'), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(tries, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 0, max: 2 }),
      async (scripts, size, away) => {
        await passing(workOff(scripts, size, away));
      },
    ),
    { numRuns: 150 },
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
    addAlone: () => Promise.resolve(),
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
    addAlone: () => Promise.reject(new Error('Redis is away')),
  });
  expect(againInMs).toBeUndefined();
  expect(warnings).toEqual(['a job that is to run again is not in the queue yet: it will be reconciled']);
  expect(ledger.of('m')).toMatchObject({ status: 'retrying', carrier: null, delayMs: 5_000 });
});
