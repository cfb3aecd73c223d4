import { hostname } from 'node:os';
import { type Closeable, type HealthServer, type Logger, type Metrics, pause, withDeadline } from '@backhaul/runtime';
import { DelayedError, type Job, UnrecoverableError, Worker } from 'bullmq';
import type { HandlersFor, JobDefinition, JobHandler, ListedJob, QueueDefinition } from './define-job.ts';
import type { RedisAddress } from './env.ts';
import { createInspector } from './inspect.ts';
import type { JobLedger } from './ledger.ts';
import { createPace } from './pace.ts';
import type { JobData } from './producer.ts';
import { assertSafe, failFast, patient, whenReady } from './redis.ts';
import { RunAborted, runJob } from './run-job.ts';
import { createWatchdog } from './watchdog.ts';

/** How a worker is started. */
export interface WorkerOptions<Jobs extends readonly ListedJob[], Ports> {
  readonly queue: QueueDefinition;
  readonly jobs: Jobs;
  readonly handlers: HandlersFor<Jobs, Ports>;
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
  const runners = new Map<string, { job: JobDefinition; handler: JobHandler<unknown, Ports> }>();
  for (const job of options.jobs) {
    // The pair is sound by HandlersFor; a heterogeneous map cannot say so.
    const handler = (options.handlers as Record<string, unknown>)[job.name] as JobHandler<unknown, Ports>;
    runners.set(job.name, { job: job as unknown as JobDefinition, handler });
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
  const running = new Map<string, AbortController>();
  const connection = patient(options.redis, log);
  let closing = false;

  const worker = new Worker<JobData>(
    queue.name,
    async (bullJob, token, lockSignal) => {
      const end = new AbortController();
      const jobId = bullJob.id ?? '';
      running.set(jobId, end);
      // After a lost lock this process may run the job again while the first run still ends: that entry is not this run's to remove.
      const forget = () => {
        if (running.get(jobId) === end) running.delete(jobId);
      };
      const onLockLost = () => end.abort(new RunAborted('lock_lost'));
      lockSignal?.addEventListener('abort', onLockLost, { once: true });
      const startedAt = performance.now();
      let name = 'unknown';
      try {
        const result = await runJob({
          messageId: bullJob.data.messageId,
          worker: `${hostname()}:${process.pid}`,
          jobs: runners,
          ports: options.ports,
          ledger,
          log: log.child({
            queue: queue.name,
            jobId,
            messageId: bullJob.data.messageId,
            ...(bullJob.data.traceparent === undefined ? {} : { traceparent: bullJob.data.traceparent }),
          }),
          signal: end.signal,
          progress: throttledProgress(bullJob, log),
          started(info) {
            name = info.job.name;
            if (info.attempt === 1) waitSeconds.observe({ queue: queue.name, name }, Math.max(0, (Date.now() - info.receivedAt.getTime()) / 1_000));
          },
        });
        // What follows waits for Redis for as long as it is away, and a stop must not.
        forget();
        const tookMs = performance.now() - startedAt;
        runSeconds.observe({ queue: queue.name, name, outcome: result.status }, tookMs / 1_000);
        pace.observe(tookMs);
        watchdog.alive();
        if (result.status === 'again') {
          // One road for every kind of "again": BullMQ's own retry counter starts from nothing after Redis was lost, the ledger's does not.
          await bullJob.moveToDelayed(Date.now() + result.delayMs, token);
          throw new DelayedError();
        }
        if (result.status === 'dead') {
          deadLetters.inc({
            queue: queue.name,
            name,
            reason_class: result.reason === 'exhausted' || result.reason === 'timeout' ? result.reason : 'permanent',
          });
          throw new UnrecoverableError(result.reason);
        }
        return null;
      } finally {
        lockSignal?.removeEventListener('abort', onLockLost);
        forget();
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
    for (const jobId of jobIds) running.get(jobId)?.abort(new RunAborted('lock_lost'));
  });
  worker.on('failed', (bullJob, error) => {
    // Given up by BullMQ without a run of ours: it stalled too often. Everything else is in the ledger already.
    if (bullJob === undefined || !/stalled/.test(error.message)) return;
    void buryStalled(bullJob.data.messageId, error);
  });

  async function buryStalled(messageId: string, error: Error): Promise<void> {
    for (let delayMs = 500; !closing; delayMs = Math.min(5_000, delayMs * 2)) {
      try {
        const buried = await ledger.bury(messageId, undefined, {
          reason: 'stalled',
          error: { name: 'Stalled', code: 'stalled', message: `lost its worker more than ${queue.maxStalls} times: ${error.message}` },
        });
        if (buried) {
          deadLetters.inc({ queue: queue.name, name: 'unknown', reason_class: 'stalled' });
          log.error('job is a dead letter', { messageId, reason: 'stalled' });
        }
        return;
      } catch (failure) {
        log.warn('a stalled job could not be buried yet', { messageId, error: failure });
        await pause(delayMs);
      }
    }
  }

  const inspector = createInspector({ redis: probe, prefix: options.prefix, queues: [queue.name], log });
  const watchdog = createWatchdog({ inspector, queue: queue.name, running: () => running.size, log });
  http.addCheck('redis', async () => void (await probe.ping()));
  http.addLiveness(() => watchdog.wedged());
  http.queues(() => inspector.all());
  metrics.gauge('jobs_running', 'Jobs that this process runs now', ['queue'], (gauge) => gauge.set({ queue: queue.name }, running.size));

  return {
    async close() {
      closing = true;
      watchdog.stop();
      try {
        await closeWorker();
      } finally {
        await pace.stop();
        await withDeadline('closing the inspector', 1_000, inspector.close()).catch(() => undefined);
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
    for (; !closed; await Promise.race([finished, pause(50)])) {
      if (running.size === 0) {
        idleSince ??= Date.now();
        if (Date.now() - idleSince < CLOSE_PATIENCE_MS) continue;
        log.warn('BullMQ did not close, leaving it');
        await withDeadline('disconnecting', 1_000, worker.disconnect()).catch(() => undefined);
        return;
      }
      idleSince = undefined;
      if (Date.now() < handBackAt) continue;
      const held = [...running.values()].filter((end) => !end.signal.aborted);
      if (held.length > 0) log.warn('handing running jobs back', { running: held.length });
      for (const end of held) end.abort(new RunAborted('stopping'));
    }
  }
}

/** Passes progress on at most once a second; a failure is worth a debug line, never the job. */
function throttledProgress(bullJob: Job<JobData>, log: Logger): (percent: number) => void {
  let last = 0;
  return (percent) => {
    const now = Date.now();
    if (now - last < 1_000 || !Number.isFinite(percent)) return;
    last = now;
    bullJob.updateProgress(Math.round(Math.min(100, Math.max(0, percent)))).catch((error: unknown) => log.debug('progress not passed on', { error }));
  };
}
