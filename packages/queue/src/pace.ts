import { type Logger, withDeadline } from '@backhaul/runtime';
import type { Redis } from 'ioredis';

/** How fast a queue's workers are, shared through Redis so that every process can tell how many are needed. */
export interface Pace {
  /** A run took this long. */
  observe(runMs: number): void;
  stop(): Promise<void>;
}

/** The hash that holds each queue's figures. */
export const paceKey = (prefix: string, queue: string) => `${prefix}:${queue}:backhaul:pace`;

const PUBLISH_EVERY_MS = 5_000;

/** Keeps an exponentially weighted mean of the run time and publishes it every five seconds while jobs run. */
export function createPace(redis: Redis, prefix: string, queue: string, concurrency: number, log: Logger): Pace {
  let meanMs: number | undefined;
  let changed = false;
  const publish = async () => {
    if (!changed || meanMs === undefined) return;
    changed = false;
    await redis
      .multi()
      .hset(paceKey(prefix, queue), { meanMs: meanMs.toFixed(1), concurrency })
      .expire(paceKey(prefix, queue), 86_400)
      .exec()
      .catch((error: unknown) => log.debug('pace not published', { error }));
  };
  const timer = setInterval(() => void publish(), PUBLISH_EVERY_MS);
  timer.unref();
  return {
    observe(runMs) {
      meanMs = meanMs === undefined ? runMs : meanMs * 0.95 + runMs * 0.05;
      changed = true;
    },
    async stop() {
      clearInterval(timer);
      await withDeadline('publishing the pace', 500, publish()).catch(() => undefined);
    },
  };
}
