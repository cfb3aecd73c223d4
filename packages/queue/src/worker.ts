import { setMaxListeners } from 'node:events';
import { hostname } from 'node:os';
import { type Closeable, type HealthServer, type Logger, type Metrics, pause, withDeadline } from '@backhaul/runtime';
import { DelayedError, type Job, Queue, UnrecoverableError, Worker } from 'bullmq';
import pLimit, { type LimitFunction } from 'p-limit';
import type { BatchHandler, BatchHandlersFor, HandlersFor, JobDefinition, JobHandler, ListedJob, QueueDefinition } from './define-job.ts';
import type { RedisAddress } from './env.ts';
import { createInspector } from './inspect.ts';
import { jobIdOf } from './job-id.ts';
import type { JobLedger, RunClosings, StartedRun } from './ledger.ts';
import { createPace } from './pace.ts';
import type { JobData } from './producer.ts';
import { assertSafe, failFast, patient, whenReady } from './redis.ts';
import { type BatchResult, runBatch } from './run-batch.ts';
import { runEnvelope } from './run-envelope.ts';
import { type Run, RunAborted, type RunResult, runJob, runOpened } from './run-job.ts';
import { createWatchdog } from './watchdog.ts';

/** How a worker is started. */
export interface WorkerOptions<Jobs extends readonly ListedJob[], Ports> {
  readonly queue: QueueDefinition;
  readonly jobs: Jobs;
  readonly handlers: HandlersFor<Jobs, Ports>;
  /** For the jobs of which many may travel in one envelope. Default: each message of one runs by itself. */
  readonly batchHandlers?: BatchHandlersFor<Jobs, Ports>;
  readonly ports: Ports;
  readonly redis: RedisAddress;
  /** Prefix of the Bull keys. */
  readonly prefix: string;
  readonly ledger: JobLedger;
  /** Jobs at once; the queue's own figure if not given. */
  readonly concurrency?: number;
  /** The variables of `workerEnv`. */
  readonly config: { readonly WORKER_LOCK_DURATION_MS: number; readonly WORKER_STALLED_INTERVAL_MS: number; readonly WORKER_STOP_GRACE_MS: number };
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly http: HealthServer;
}

type BullJob = Job<JobData>;

/** What runs now: a message's job, alone or in an envelope, or the batch of one. */
interface Running {
  /** The Bull job's id. */
  readonly jobId: string;
  readonly messages: number;
  readonly end: AbortController;
  /** Its job's wish. */
  whenLockLost: 'end' | 'go_on';
}

/** How many messages may go on without the envelope that they came in. */
const MAX_LEFT = 500;

/** How long BullMQ may take to close once no job runs. */
const CLOSE_PATIENCE_MS = 3_000;

/**
 * Starts the worker of one queue and wires it to the process's HTTP face
 * (readiness, liveness, `/metrics/queues`).
 *
 * `close()` takes no new jobs, lets running ones finish for
 * `WORKER_STOP_GRACE_MS`, then aborts them and hands them back.
 *
 * @throws {QueueUnavailable} when Redis does not answer within 10 s
 * @throws {UnsafeRedis} when Redis may evict jobs
 */
export async function startWorker<const Jobs extends readonly ListedJob[], Ports>(options: WorkerOptions<Jobs, Ports>): Promise<Closeable> {
  const { queue, ledger, log, metrics, http } = options;
  const runners = new Map<string, { job: JobDefinition; handler: JobHandler<unknown, Ports>; batch: BatchHandler<unknown, Ports> | undefined }>();
  const limits = new Map<string, LimitFunction>();
  for (const job of options.jobs) {
    // The pair is sound by HandlersFor; a heterogeneous map cannot say so.
    const handler = (options.handlers as Record<string, unknown>)[job.name] as JobHandler<unknown, Ports>;
    const definition = job as unknown as JobDefinition;
    const batch = (options.batchHandlers as Record<string, unknown> | undefined)?.[job.name] as BatchHandler<unknown, Ports> | undefined;
    runners.set(job.name, { job: definition, handler, batch });
    if (definition.atOnce !== undefined) limits.set(job.name, pLimit(definition.atOnce));
  }
  const concurrency = options.concurrency ?? queue.concurrency;

  const probe = failFast(options.redis, log);
  try {
    await whenReady(probe, 10_000);
    await assertSafe(probe, log);
  } catch (error) {
    probe.disconnect();
    throw error;
  }

  const waitSeconds = metrics.seconds('job_wait_seconds', 'From acceptance of a job to the start of its first run', ['queue', 'name']);
  const runSeconds = metrics.seconds('job_duration_seconds', 'How long one run of a job took', ['queue', 'name', 'outcome']);
  const deadLetters = metrics.counter('dead_letter_total', 'Jobs that became dead letters', ['queue', 'name', 'reason_class']);
  const stalls = metrics.counter('job_stalled_total', 'Jobs whose worker died or lost its lock', ['queue']);
  const pace = createPace(probe, options.prefix, queue.name, concurrency, log);
  const running = new Set<Running>();
  const left = { count: 0, ended: new Set<Promise<unknown>>() };
  const connection = patient(options.redis, log);
  const own = new Queue<JobData>(queue.name, { connection: probe, prefix: options.prefix, skipVersionCheck: true });
  own.on('error', (error) => log.debug('queue error', { queue: queue.name, error }));
  const workerName = `${hostname()}:${process.pid}`;
  let closing = false;

  /** What both kinds of run share: the slot, the abort, the metrics. */
  async function runOne(
    bullJob: BullJob,
    { messageId, traceparent }: { messageId: string; traceparent?: string | null | undefined },
    run: (shared: Run<Ports>) => Promise<RunResult>,
  ): Promise<RunResult> {
    const entry: Running = { jobId: bullJob.id ?? '', messages: 1, end: new AbortController(), whenLockLost: 'end' };
    running.add(entry);
    const startedAt = performance.now();
    let name = 'unknown';
    try {
      const result = await run({
        messageId,
        jobs: runners,
        ports: options.ports,
        log: log.child({ queue: queue.name, jobId: entry.jobId, messageId, ...(traceparent == null ? {} : { traceparent }) }),
        end: entry.end,
        quiet: bullJob.data.messageIds !== undefined,
        progress: throttledProgress(bullJob, log),
        started(info) {
          name = info.job.name;
          entry.whenLockLost = info.job.whenLockLost ?? 'end';
          if (info.attempt === 1) waitSeconds.observe({ queue: queue.name, name }, Math.max(0, (Date.now() - info.receivedAt.getTime()) / 1_000));
        },
      });
      runSeconds.observe({ queue: queue.name, name, outcome: result.status }, (performance.now() - startedAt) / 1_000);
      if (result.status === 'dead') {
        const reasonClass = result.reason === 'exhausted' || result.reason === 'timeout' ? result.reason : 'permanent';
        deadLetters.inc({ queue: queue.name, name, reason_class: reasonClass });
      }
      watchdog.alive();
      return result;
    } finally {
      // What follows waits for Redis for as long as it is away, and a stop must not.
      running.delete(entry);
    }
  }

  /** Gives the messages of an envelope, which are of one kind, to their batch handler, if they have one. */
  async function runTogether(bullJob: BullJob, opened: ReadonlyMap<string, StartedRun>, closings: RunClosings): Promise<BatchResult<Ports>> {
    const [first] = opened.values();
    const { job, batch } = runners.get(first?.name ?? '') ?? {};
    if (job === undefined || batch === undefined || limits.has(job.name)) return { ended: new Map(), goOn: new Map() };
    const entry: Running = { jobId: bullJob.id ?? '', messages: opened.size, end: new AbortController(), whenLockLost: job.whenLockLost ?? 'end' };
    setMaxListeners(0, entry.end.signal);
    running.add(entry);
    const startedAt = performance.now();
    try {
      const result = await runBatch({
        job,
        batch,
        opened,
        closings,
        ports: options.ports,
        log: log.child({ queue: queue.name, jobId: entry.jobId }),
        end: entry.end,
      });
      const labels = { queue: queue.name, name: job.name };
      const tookSeconds = (performance.now() - startedAt) / 1_000;
      for (const [messageId, { status }] of result.ended) {
        const receivedAt = opened.get(messageId)?.receivedAt.getTime() ?? Date.now();
        waitSeconds.observe(labels, Math.max(0, (Date.now() - receivedAt) / 1_000 - tookSeconds));
        runSeconds.observe({ ...labels, outcome: status }, tookSeconds);
      }
      watchdog.alive();
      return result;
    } finally {
      running.delete(entry);
    }
  }

  /** Runs a Bull job; returns after how long it must run again, if it must. */
  async function runBullJob(bullJob: BullJob): Promise<number | undefined> {
    const { data, id = '' } = bullJob;
    const startedAt = performance.now();
    const observePace = () => pace.observe((performance.now() - startedAt) / (data.messageIds?.length ?? 1));
    if (data.messageIds === undefined) {
      const result = await runOne(bullJob, data, (run) => runJob({ ...run, worker: workerName, ledger }));
      observePace();
      // In BullMQ's eyes a dead letter has failed; the rest it need not know.
      if (result.status === 'dead') throw new UnrecoverableError(result.reason);
      return result.status === 'again' ? result.delayMs : undefined;
    }
    let goOn: BatchResult<Ports>['goOn'] = new Map();
    const againInMs = await runEnvelope({
      id,
      messageIds: data.messageIds,
      worker: workerName,
      ledger,
      log: log.child({ queue: queue.name, jobId: id }),
      async runBatch(opened, closings) {
        const result = await runTogether(bullJob, opened, closings);
        goOn = result.goOn;
        return result.ended;
      },
      runOne: (messageId, opened, closings) =>
        runOne(bullJob, { messageId, traceparent: opened.traceparent }, (run) => {
          const limit = limits.get(opened.name);
          const open = () => runOpened({ ...run, goOn: goOn.get(messageId) }, closings, opened);
          return limit === undefined ? open() : limit(open);
        }),
      addAlone: async (messageId, name, delayMs) => {
        await own.add(name, { messageId }, { jobId: jobIdOf(messageId), delay: delayMs, priority: bullJob.priority });
      },
      removeAlone: async (messageId) => void (await own.remove(jobIdOf(messageId))),
      mayLeave: (count) => left.count + count <= MAX_LEFT,
      left(count, ended) {
        left.count += count;
        left.ended.add(ended);
        void ended.finally(() => {
          left.count -= count;
          left.ended.delete(ended);
        });
      },
    });
    observePace();
    return againInMs;
  }

  const worker = new Worker<JobData>(
    queue.name,
    async (bullJob, token, lockSignal) => {
      const jobId = bullJob.id ?? '';
      const onLockLost = () => lockLost(jobId);
      lockSignal?.addEventListener('abort', onLockLost, { once: true });
      try {
        const againInMs = await runBullJob(bullJob);
        if (againInMs === undefined) return null;
        // One road for every kind of "again": BullMQ's own retry counter starts from nothing after Redis was lost, the ledger's does not.
        await bullJob.moveToDelayed(Date.now() + againInMs, token);
        throw new DelayedError();
      } finally {
        lockSignal?.removeEventListener('abort', onLockLost);
      }
    },
    {
      connection,
      prefix: options.prefix,
      concurrency,
      maxStalledCount: queue.maxStalls,
      lockDuration: options.config.WORKER_LOCK_DURATION_MS,
      stalledInterval: options.config.WORKER_STALLED_INTERVAL_MS,
      // The record is in Postgres: a retained failed job would swallow a replay of the same id in silence.
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
      runRetryDelay: 1_000,
    },
  );

  worker.on('error', (error) => log.debug('worker error', { error }));
  worker.on('stalled', (jobId) => {
    stalls.inc({ queue: queue.name });
    log.warn('job stalled: its worker died or lost its lock', { queue: queue.name, jobId });
  });
  // BullMQ only reports a lost lock; the run would go on beside its successor.
  worker.on('lockRenewalFailed', (jobIds) => {
    for (const jobId of jobIds) lockLost(jobId);
  });
  worker.on('failed', (bullJob, error) => {
    // Given up by BullMQ without a run of ours: it stalled too often. Everything else is in the ledger already.
    if (bullJob === undefined || !/stalled/.test(error.message)) return;
    const { data } = bullJob;
    if (data.messageIds === undefined) void patiently('a stalled job could not be buried yet', () => buryStalled(data.messageId, error));
    else void patiently('a stalled envelope could not be opened yet', () => splitStalled(bullJob, data.messageIds));
  });

  function lockLost(jobId: string): void {
    for (const entry of running) if (entry.jobId === jobId && entry.whenLockLost === 'end') entry.end.abort(new RunAborted('lock_lost'));
  }

  async function patiently(what: string, work: () => Promise<void>): Promise<void> {
    for (let delayMs = 500; !closing; delayMs = Math.min(5_000, delayMs * 2)) {
      try {
        await work();
        return;
      } catch (error) {
        log.warn(what, { error });
        await pause(delayMs);
      }
    }
  }

  /** One message of it kills its worker each time. Alone, only that one is given up. */
  async function splitStalled(bullJob: BullJob, messageIds: readonly string[]): Promise<void> {
    const { priority, name } = bullJob;
    await own.addBulk(messageIds.map((messageId) => ({ name, data: { messageId }, opts: { jobId: jobIdOf(messageId), priority } })));
    log.error('an envelope lost its worker too often, its messages run alone', { queue: queue.name, jobId: bullJob.id, messages: messageIds.length });
  }

  async function buryStalled(messageId: string, error: Error): Promise<void> {
    const buried = await ledger.bury(messageId, undefined, {
      reason: 'stalled',
      error: { name: 'Stalled', code: 'stalled', message: `lost its worker more than ${queue.maxStalls} times: ${error.message}` },
    });
    if (!buried) return;
    deadLetters.inc({ queue: queue.name, name: 'unknown', reason_class: 'stalled' });
    log.error('job is a dead letter', { messageId, reason: 'stalled' });
  }

  const inspector = createInspector({ redis: probe, prefix: options.prefix, queues: [queue.name], log });
  const watchdog = createWatchdog({ inspector, queue: queue.name, running: () => running.size, log });
  http.addCheck('redis', async () => void (await probe.ping()));
  http.addLiveness(() => watchdog.wedged());
  http.queues(() => inspector.all());
  metrics.gauge('jobs_running', 'Jobs that this process runs now', ['queue'], (gauge) => {
    gauge.set(
      { queue: queue.name },
      [...running].reduce((sum, { messages }) => sum + messages, 0),
    );
  });

  return {
    async close() {
      closing = true;
      watchdog.stop();
      try {
        await closeWorker();
        // Their own Bull jobs are put right now, or are due in a while.
        await withDeadline('the last messages', 1_000, Promise.all(left.ended)).catch(() => undefined);
      } finally {
        await pace.stop();
        await withDeadline('closing the queues', 1_000, Promise.all([inspector.close(), own.close()])).catch(() => undefined);
        probe.disconnect();
        connection.disconnect();
      }
    },
  };

  /**
   * Waits for the running jobs, hands them back when the grace is over, and
   * does not wait for BullMQ alone: its close has no deadline, and hangs when
   * Redis is away or was so a moment ago (its issue 4656).
   */
  async function closeWorker(): Promise<void> {
    let closed = false;
    const finished = worker
      .close()
      .catch((error: unknown) => log.debug('worker error', { error }))
      .finally(() => (closed = true));
    const handBackAt = Date.now() + options.config.WORKER_STOP_GRACE_MS;
    let idleSince: number | undefined;
    // BullMQ knows nothing of the messages that left their envelope.
    for (; !closed || running.size > 0; await (closed ? pause(50) : Promise.race([finished, pause(50)]))) {
      if (running.size === 0) {
        idleSince ??= Date.now();
        if (Date.now() - idleSince < CLOSE_PATIENCE_MS) continue;
        log.warn('BullMQ did not close, leaving it');
        await withDeadline('disconnecting', 1_000, worker.disconnect()).catch(() => undefined);
        return;
      }
      idleSince = undefined;
      if (Date.now() < handBackAt) continue;
      const held = [...running].filter(({ end }) => !end.signal.aborted);
      if (held.length > 0) log.warn('handing running jobs back', { running: held.reduce((sum, { messages }) => sum + messages, 0) });
      for (const { end } of held) end.abort(new RunAborted('stopping'));
    }
  }
}

/** Passes progress on at most once a second; a failure is worth a debug line, never the job. */
function throttledProgress(bullJob: BullJob, log: Logger): (percent: number) => void {
  let last = 0;
  return (percent) => {
    const now = Date.now();
    if (now - last < 1_000 || !Number.isFinite(percent)) return;
    last = now;
    bullJob.updateProgress(Math.round(Math.min(100, Math.max(0, percent)))).catch((error: unknown) => log.debug('progress not passed on', { error }));
  };
}
