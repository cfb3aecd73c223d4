import type { Logger } from '@backhaul/runtime';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { heldIn } from './held.ts';
import { jobIdOf } from './job-id.ts';
import { paceKey } from './pace.ts';

/** One queue at one moment. */
export interface QueueFigures {
  readonly queue: string;
  /** Messages whose job could start now; an estimate above 5,000 Bull jobs, see `heldIn`. */
  readonly waiting: number;
  readonly active: number;
  /** Messages whose retry is not due yet. */
  readonly delayed: number;
  readonly paused: boolean;
  /** How long the longest waiting job has been waiting; 0 when none waits. */
  readonly oldestWaitingSeconds: number;
  /** For how long a message occupied its place of late, in the mean, if any worker has told; those of an envelope share one. */
  readonly meanRunMs: number | null;
  /** Processes needed to start every waiting job within the target latency; what the autoscaler follows. */
  readonly desiredWorkers: number;
}

/** Looks into the queues. */
export interface Inspector {
  one(queue: string): Promise<QueueFigures>;
  all(): Promise<QueueFigures[]>;
  /** How far a running job is, 0 to 100; undefined when it is not in Redis. */
  progress(queue: string, messageId: string): Promise<number | undefined>;
  close(): Promise<void>;
}

/** How the inspector is made. It borrows the connection: closing the inspector leaves it open. */
export interface InspectorOptions {
  readonly redis: Redis;
  readonly prefix: string;
  readonly queues: readonly string[];
  readonly log: Logger;
  /** A waiting job should start within this time; default 30 s. */
  readonly targetLatencyMs?: number;
}

/** BullMQ packs priority and insertion order into one score: priority * 2^32 + counter. */
const PRIORITY_STEP = 2 ** 32;
/** Priority levels looked at for the oldest job; more than the fleet uses. */
const MAX_LEVELS = 16;

/** Makes an inspector over the given queues. */
export function createInspector(options: InspectorOptions): Inspector {
  const { redis, prefix } = options;
  const targetLatencyMs = options.targetLatencyMs ?? 30_000;
  const queues = new Map(
    options.queues.map((name) => {
      const queue = new Queue(name, { connection: redis, prefix, skipVersionCheck: true });
      queue.on('error', (error) => options.log.debug('queue error', { queue: name, error }));
      return [name, queue];
    }),
  );
  const queueOf = (name: string) => {
    const queue = queues.get(name);
    if (queue === undefined) throw new Error(`no such queue: ${name}; there are ${[...queues.keys()].join(', ')}`);
    return queue;
  };

  /** The time stamp of the longest waiting job: the tail of the list, and the head of each priority level. */
  async function oldestWaitingSeconds(name: string): Promise<number> {
    const ids: string[] = [];
    const tail = await redis.lindex(`${prefix}:${name}:wait`, -1);
    if (tail !== null) ids.push(tail);
    let from = '-inf';
    for (let level = 0; level < MAX_LEVELS; level += 1) {
      const [id, score] = await redis.zrangebyscore(`${prefix}:${name}:prioritized`, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1);
      if (id === undefined || score === undefined) break;
      ids.push(id);
      from = String((Math.floor(Number(score) / PRIORITY_STEP) + 1) * PRIORITY_STEP);
    }
    const stamps = await Promise.all(ids.map((id) => redis.hget(`${prefix}:${name}:${id}`, 'timestamp')));
    const oldest = Math.min(...stamps.filter((stamp) => stamp !== null).map(Number));
    return Number.isFinite(oldest) ? Math.max(0, (Date.now() - oldest) / 1_000) : 0;
  }

  const inspector: Inspector = {
    async one(name) {
      const queue = queueOf(name);
      const [{ waiting, active, delayed }, busy, paused, oldest, pace] = await Promise.all([
        heldIn(redis, prefix, name),
        redis.llen(`${prefix}:${name}:active`),
        queue.isPaused(),
        oldestWaitingSeconds(name),
        redis.hgetall(paceKey(prefix, name)),
      ]);
      const meanRunMs = pace['meanMs'] === undefined ? null : Number(pace['meanMs']);
      const concurrency = Number(pace['concurrency'] ?? 1);
      return {
        queue: name,
        waiting,
        active,
        delayed,
        paused,
        oldestWaitingSeconds: Math.round(oldest * 1_000) / 1_000,
        meanRunMs,
        desiredWorkers: Math.ceil((busy + (waiting * (meanRunMs ?? 1_000)) / targetLatencyMs) / concurrency),
      };
    },
    all: () => Promise.all([...queues.keys()].map((name) => inspector.one(name))),
    async progress(name, messageId) {
      const progress = await redis.hget(`${prefix}:${name}:${jobIdOf(messageId)}`, 'progress');
      return progress === null ? undefined : Number(progress);
    },
    async close() {
      await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
    },
  };
  return inspector;
}
