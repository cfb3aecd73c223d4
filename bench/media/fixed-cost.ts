import { createHash, randomUUID } from 'node:crypto';
import { createDatabase, createJobLedger, createJobs, migrate } from '@backhaul/database';
import { mediaImage } from '@backhaul/events';
import { media, mediaJobs } from '@backhaul/jobs/media';
import { createObjectStore, objectStoreOptions } from '@backhaul/object-store';
import { createProducer, done, redisOptions, startWorker } from '@backhaul/queue';
import { loadConfig, silentLogger } from '@backhaul/runtime';
import { mediaWorkerConfig } from '../../services/media-worker/src/config.ts';
import type { Samples } from '../figure.ts';
import { idleProcess } from '../idle-process.ts';
import { cpuOf } from './cpu.ts';

const OBJECT_BYTES = 1_024;

/**
 * `media.noop`: what a job costs before anything is done with its medium.
 * The real worker takes it from Redis, notes in Postgres that it began, fetches
 * and stores one small object, and notes the end.
 */
export async function benchFixedCost(samples: Samples, rounds: number, env: NodeJS.ProcessEnv, count: number): Promise<void> {
  const config = loadConfig(mediaWorkerConfig, env);
  const database = createDatabase({ url: config.DATABASE_URL, poolSize: 10, statementTimeoutMs: 30_000, applicationName: 'bench', log: silentLogger });
  await migrate(database);
  const store = createObjectStore(objectStoreOptions(config));
  const redis = redisOptions(config);
  const producer = await createProducer({ redis, prefix: config.QUEUE_PREFIX, log: silentLogger });
  const jobs = createJobs(database);
  const name = 'media.process-image';

  /** As the bridge leaves them: recorded, then queued. */
  async function fill(): Promise<void> {
    const batch = Array.from({ length: count }, () => ({ messageId: randomUUID(), queue: media.name, name, priority: 1, traceparent: null }));
    const payloadJson = JSON.stringify(mediaImage.example);
    await jobs.record(batch.map((job) => ({ ...job, bodyHash: createHash('sha256').update(job.messageId).digest(), payloadJson })));
    await producer.addBatch(media.name, batch);
  }

  async function drain(): Promise<void> {
    let ended = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const handler = async (_payload: unknown, { messageId, signal }: { messageId: string; signal: AbortSignal }) => {
      const { body } = await store.get('bench/small', { maxBytes: OBJECT_BYTES, signal });
      await store.put(`bench/${messageId}`, body, { contentType: 'application/octet-stream', signal });
      ended += 1;
      if (ended === count) resolve();
      return done();
    };
    const worker = await startWorker({
      // Instruments of its own: they can be registered only once.
      ...idleProcess(),
      queue: media,
      jobs: mediaJobs,
      handlers: { 'media.process-image': handler, 'media.transcode-video': handler, 'media.convert-audio': handler },
      ports: {},
      redis,
      prefix: config.QUEUE_PREFIX,
      ledger: createJobLedger(database),
      concurrency: config.MEDIA_CONCURRENCY,
    });
    await promise;
    // Lets the last ones be noted as done.
    await worker.close();
  }

  await store.put('bench/small', Buffer.alloc(OBJECT_BYTES), { contentType: 'application/octet-stream' });
  await fill();
  await drain();
  for (let round = 0; round < rounds; round += 1) {
    await fill();
    samples.add('media.noop', (await cpuOf(drain)) / count);
  }
  samples.print('media.noop', 'ms');
  await Promise.all([producer.close(), store.close(), database.close()]);
}
