import { type Logger, withDeadline } from '@backhaul/runtime';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { RedisAddress } from './env.ts';
import { addBatch, defineAddBatch } from './add-batch.ts';
import { bullPriority, jobIdOf } from './job-id.ts';
import { QueueUnavailable, failFast, whenReady } from './redis.ts';

/** A recorded job on its way into Redis: a reference, the record has the rest. */
export interface JobReference {
  readonly messageId: string;
  /** The job definition's name. */
  readonly name: string;
  /** Larger is more urgent. */
  readonly priority: number;
  readonly traceparent: string | null;
}

/** What a Bull job carries. The payload stays in Postgres: Redis then holds no message contents and stays small. */
export interface JobData {
  readonly messageId: string;
  readonly traceparent?: string;
}

/** Puts jobs into the Bull queues. */
export interface Producer {
  readonly redis: Redis;
  /**
   * Adds a batch in one round trip. A job that is in the queue already stays as it is.
   * @throws {QueueUnavailable} within `timeoutMs` when Redis is away or full; some of the batch may have been added, adding it again is harmless
   */
  addBatch(queue: string, jobs: readonly JobReference[]): Promise<void>;
  /** How many jobs wait in a queue: waiting, prioritised, delayed and active. */
  depth(queue: string): Promise<number>;
  /** The depth as the latest `addBatch` found it, without asking Redis; undefined when that is more than 250 ms ago. */
  seenDepth(queue: string): number | undefined;
  /** Of these message ids, the ones whose job is not in Redis. */
  missing(queue: string, messageIds: readonly string[]): Promise<string[]>;
  /** Resolves when Redis answers. */
  ping(): Promise<void>;
  /** Resolves when Redis takes writes: a full one, or a replica, answers a ping all the same. */
  probe(): Promise<void>;
  close(): Promise<void>;
}

/** How the producer is made. */
export interface ProducerOptions {
  readonly redis: RedisAddress;
  readonly prefix: string;
  readonly log: Logger;
  /** The longest that one call may take. Default 5 s. */
  readonly timeoutMs?: number;
}

/** Connects (waiting at most 10 s for the first contact) and returns the producer. */
export async function createProducer(options: ProducerOptions): Promise<Producer> {
  const timeoutMs = options.timeoutMs ?? 5_000;
  const redis = failFast(options.redis, options.log);
  defineAddBatch(redis);
  const seen = new Map<string, { depth: number; at: number }>();
  const queues = new Map<string, Queue<JobData>>();
  const queueOf = (name: string) => {
    let queue = queues.get(name);
    if (queue === undefined) {
      queue = new Queue<JobData>(name, { connection: redis, prefix: options.prefix, skipVersionCheck: true, streams: { events: { maxLen: 1_000 } } });
      queue.on('error', (error) => options.log.debug('queue error', { queue: name, error }));
      queues.set(name, queue);
    }
    return queue;
  };
  const attempt = async <Result>(what: string, work: () => Promise<Result>): Promise<Result> => {
    try {
      return await withDeadline(what, timeoutMs, work());
    } catch (error) {
      throw new QueueUnavailable(error);
    }
  };
  try {
    await whenReady(redis, 10_000);
  } catch (error) {
    redis.disconnect();
    throw error;
  }
  return {
    redis,
    async addBatch(queue, jobs) {
      if (jobs.length === 0) return;
      const entries = jobs.map(({ messageId, name, priority, traceparent }) => ({
        id: jobIdOf(messageId),
        name,
        data: JSON.stringify(traceparent === null ? { messageId } : { messageId, traceparent }),
        priority: bullPriority(priority),
      }));
      const { depth } = await attempt('adding jobs', () => addBatch(redis, options.prefix, queue, entries));
      seen.set(queue, { depth, at: Date.now() });
    },
    depth: (queue) =>
      attempt('counting jobs', async () => {
        const counts = await queueOf(queue).getJobCounts('waiting', 'active', 'prioritized', 'delayed');
        return Object.values(counts).reduce((sum, count) => sum + count, 0);
      }),
    seenDepth(queue) {
      const latest = seen.get(queue);
      return latest !== undefined && Date.now() - latest.at <= 250 ? latest.depth : undefined;
    },
    missing: (queue, messageIds) =>
      attempt('looking jobs up', async () => {
        const pipeline = redis.pipeline();
        for (const messageId of messageIds) pipeline.exists(`${options.prefix}:${queue}:${jobIdOf(messageId)}`);
        const answers = (await pipeline.exec()) ?? [];
        return messageIds.filter((_messageId, index) => {
          const [error, found] = answers[index] ?? [];
          if (error) throw error;
          return found === 0;
        });
      }),
    probe: () => attempt('probing', async () => void (await redis.set(`${options.prefix}:backhaul:probe`, '', 'PX', 1_000))),
    ping: () => attempt('ping', async () => void (await redis.ping())),
    async close() {
      await withDeadline('closing the queues', 2_000, Promise.all([...queues.values()].map((queue) => queue.close()))).catch(() => undefined);
      redis.disconnect();
    },
  };
}
