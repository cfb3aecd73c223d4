import { type Logger, withDeadline } from '@backhaul/runtime';
import type { Redis } from 'ioredis';
import type { RedisAddress } from './env.ts';
import { type BullEntry, addBatch, defineAddBatch } from './add-batch.ts';
import { heldIn } from './held.ts';
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
  /** The envelope that it travels in; on its own if not given. See `seal`. */
  readonly carrier?: string | null;
}

/** What a Bull job carries: one message, or an envelope's. The payloads stay in Postgres: Redis then holds no message contents and stays small. */
export type JobData =
  | { readonly messageId: string; readonly traceparent?: string; readonly messageIds?: undefined }
  | { readonly messageIds: readonly string[]; readonly messageId?: undefined };

/** Puts jobs into the Bull queues. */
export interface Producer {
  readonly redis: Redis;
  /**
   * Adds a batch in one round trip: jobs with the same carrier as one Bull job,
   * each other one on its own. A Bull job that is in the queue already stays as it is.
   * @throws {QueueUnavailable} within `timeoutMs` when Redis is away or full; some of the batch may have been added, adding it again is harmless
   */
  addBatch(queue: string, jobs: readonly JobReference[]): Promise<void>;
  /** How many messages a queue holds, waiting, delayed and active; an estimate above 5,000 Bull jobs, see `heldIn`. */
  depth(queue: string): Promise<number>;
  /** The depth as the latest `addBatch` estimated it, without asking Redis; undefined when that is more than 250 ms ago. */
  seenDepth(queue: string): number | undefined;
  /** Of these, the ones that have neither a Bull job of their own in Redis nor one that carries them. */
  missing<Job extends Pick<JobReference, 'messageId' | 'carrier'>>(queue: string, jobs: readonly Job[]): Promise<Job[]>;
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
      const entries = toEntries(jobs);
      const { depth } = await attempt('adding jobs', () => addBatch(redis, options.prefix, queue, entries));
      seen.set(queue, { depth, at: Date.now() });
    },
    depth: (queue) =>
      attempt('counting jobs', async () => {
        const { waiting, active, delayed } = await heldIn(redis, options.prefix, queue);
        return waiting + active + delayed;
      }),
    seenDepth(queue) {
      const latest = seen.get(queue);
      return latest !== undefined && Date.now() - latest.at <= 250 ? latest.depth : undefined;
    },
    missing: (queue, jobs) =>
      attempt('looking jobs up', async () => {
        const exist = async (ids: readonly string[]): Promise<ReadonlySet<string>> => {
          if (ids.length === 0) return new Set();
          const pipeline = redis.pipeline();
          for (const id of ids) pipeline.exists(`${options.prefix}:${queue}:${id}`);
          const answers = (await pipeline.exec()) ?? [];
          return new Set(
            ids.filter((_id, index) => {
              const [error, found] = answers[index] ?? [];
              if (error) throw error;
              return found === 1;
            }),
          );
        };
        const carriers = await exist([...new Set(jobs.flatMap(({ carrier }) => carrier ?? []))]);
        const uncarried = jobs.filter(({ carrier }) => carrier == null || !carriers.has(carrier));
        const own = await exist(uncarried.map(({ messageId }) => jobIdOf(messageId)));
        return uncarried.filter(({ messageId }) => !own.has(jobIdOf(messageId)));
      }),
    probe: () => attempt('probing', async () => void (await redis.set(`${options.prefix}:backhaul:probe`, '', 'PX', 1_000))),
    ping: () => attempt('ping', async () => void (await redis.ping())),
    close() {
      redis.disconnect();
      return Promise.resolve();
    },
  };
}

/** One Bull job for each envelope and for each job without one. */
function toEntries(jobs: readonly JobReference[]): BullEntry[] {
  const entries: BullEntry[] = [];
  const envelopes = new Map<string, JobReference[]>();
  for (const job of jobs) {
    const { messageId, name, priority, traceparent, carrier } = job;
    if (carrier == null) {
      const data: JobData = traceparent === null ? { messageId } : { messageId, traceparent };
      entries.push({ id: jobIdOf(messageId), name, data: JSON.stringify(data), priority: bullPriority(priority) });
      continue;
    }
    const together = envelopes.get(carrier);
    if (together === undefined) envelopes.set(carrier, [job]);
    else together.push(job);
  }
  for (const [id, together] of envelopes) {
    // The sealed ones share name and priority; the first speaks for all.
    const [first] = together;
    if (first === undefined) continue;
    const data: JobData = { messageIds: together.map(({ messageId }) => messageId) };
    entries.push({ id, name: first.name, data: JSON.stringify(data), priority: bullPriority(first.priority) });
  }
  return entries;
}
