import { silentLogger } from '@backhaul/runtime';
import Bull from 'bull';
import { Worker } from 'bullmq';
import { Logger, run } from 'graphile-worker';
import { PgBoss } from 'pg-boss';
import { countDone } from './count-done.ts';

/**
 * One worker process of a peer: `node peer-worker.ts <peer> <queue>`, with
 * DATABASE_URL and REDIS_URL in the environment. It works until it is killed.
 * The settings are those that each project's documentation recommends for
 * many short jobs.
 */
const [peer = '', queue = ''] = process.argv.slice(2);
const databaseUrl = process.env['DATABASE_URL'] ?? '';
const redisUrl = new URL(process.env['REDIS_URL'] ?? 'redis://127.0.0.1');
const redis = { host: redisUrl.hostname, port: Number(redisUrl.port) };
const count = countDone();
const work = (): Promise<void> => {
  count();
  return Promise.resolve();
};

switch (peer) {
  case 'graphile_worker':
    // https://worker.graphile.org/docs/performance: local queue, completions in batches, more jobs at once than connections.
    await run({
      preset: {
        worker: {
          connectionString: databaseUrl,
          concurrentJobs: 24,
          maxPoolSize: 25,
          localQueue: { size: 500 },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
          logger: new Logger(() => () => undefined),
        },
      },
      taskList: { [queue]: work },
    });
    break;
  case 'bullmq': {
    // https://docs.bullmq.io/guide/workers/concurrency: some hundred for jobs that wait; more gain nothing here.
    const worker = new Worker(queue, work, { connection: redis, concurrency: 100, removeOnComplete: { count: 0 } });
    worker.on('error', (error) => silentLogger.error('worker error', { error }));
    break;
  }
  case 'bull':
    void new Bull(queue, { redis }).process(100, work);
    break;
  case 'pg_boss': {
    // https://timgit.github.io/pg-boss: batches, several fetchers, and no wait between full batches.
    const boss = new PgBoss({ connectionString: databaseUrl, max: 10, supervise: false, schedule: false });
    boss.on('error', (error: unknown) => silentLogger.error('worker error', { error }));
    await boss.start();
    await boss.work(queue, { batchSize: 500, localConcurrency: 4, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true }, (jobs) => {
      for (const _job of jobs) count();
      return Promise.resolve();
    });
    break;
  }
  default:
    throw new Error(`no such peer: ${peer}`);
}
