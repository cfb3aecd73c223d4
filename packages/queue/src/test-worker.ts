import { type Closeable, type Logger, type Metrics, createHealthServer, createMetrics, silentLogger } from '@backhaul/runtime';
import { z } from 'zod';
import { type BatchHandler, type JobContext, type JobDefinition, type QueueDefinition, defineJob, defineQueue } from './define-job.ts';
import { redisOptions } from './env.ts';
import type { JobLedger } from './ledger.ts';
import type { Outcome } from './outcome.ts';
import { startWorker } from './worker.ts';

/** For tests: a queue that gives a job up at its second crash. */
export const testQueue = defineQueue({ name: 'work', concurrency: 1, maxStalls: 1 });

/** For tests: a job with short waits. */
export const testJob = defineJob({
  name: 'work.test',
  queue: testQueue,
  payload: z.object({ n: z.number() }),
  priority: 1,
  timeoutMs: 60_000,
  retry: { attempts: 3, firstDelayMs: 100 },
});

/** How a test's worker differs. */
export interface TestWorkerOptions {
  readonly redisUrl: string;
  readonly prefix: string;
  readonly ledger: JobLedger;
  readonly work: (payload: { n: number }, context: JobContext<null>) => Promise<Outcome>;
  /** For the messages of an envelope. */
  readonly batch?: BatchHandler<{ n: number }, null>;
  readonly queue?: QueueDefinition;
  readonly job?: Partial<Pick<JobDefinition, 'timeoutMs' | 'retry' | 'atOnce' | 'whenLockLost'>>;
  readonly concurrency?: number;
  readonly lockMs?: number;
  readonly graceMs?: number;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

/** Starts a worker of `testJob`. */
export function startTestWorker(options: TestWorkerOptions): Promise<Closeable> {
  const log = options.log ?? silentLogger;
  const metrics = options.metrics ?? createMetrics('test');
  return startWorker({
    queue: options.queue ?? testQueue,
    jobs: [{ ...testJob, ...options.job }],
    handlers: { 'work.test': options.work },
    ...(options.batch === undefined ? {} : { batchHandlers: { 'work.test': options.batch } }),
    ports: null,
    redis: redisOptions({ REDIS_URL: options.redisUrl, REDIS_HOST: '', REDIS_PORT: 0 }),
    prefix: options.prefix,
    ledger: options.ledger,
    config: { WORKER_LOCK_DURATION_MS: options.lockMs ?? 1_000, WORKER_STALLED_INTERVAL_MS: 500, WORKER_STOP_GRACE_MS: options.graceMs ?? 10_000 },
    log,
    metrics,
    http: createHealthServer({ service: 'test', log, metrics, onShutdown: () => undefined }),
    ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
  });
}
