import { type Logger, withDeadline } from '@backhaul/runtime';
import type { Inspector } from './inspect.ts';

/** Notices a worker that no longer takes jobs although some wait. */
export interface Watchdog {
  /** A run ended: the worker lives. */
  alive(): void;
  /** What is wrong, or undefined. For `/livez`: it asks nothing of Redis, so an outage of Redis does not restart the fleet. */
  wedged(): string | undefined;
  stop(): void;
}

const LOOK_EVERY_MS = 10_000;
const WEDGED_AFTER_MS = 120_000;

/**
 * BullMQ workers have stopped for ever after a Redis outage before (its issue
 * 4585), without an error: jobs wait, none is active, `isRunning()` is true.
 * Looks every 10 s; two minutes of jobs waiting, Redis answering and nothing
 * running here or elsewhere count as wedged.
 */
export function createWatchdog(options: { inspector: Inspector; queue: string; running: () => number; log: Logger }): Watchdog {
  let idleSince: number | undefined;
  const timer = setInterval(() => void look(), LOOK_EVERY_MS);
  timer.unref();

  async function look(): Promise<void> {
    if (options.running() > 0) {
      idleSince = undefined;
      return;
    }
    try {
      const figures = await withDeadline('queue figures', 5_000, options.inspector.one(options.queue));
      const stuck = !figures.paused && figures.waiting > 0 && figures.active === 0;
      idleSince = stuck ? (idleSince ?? Date.now()) : undefined;
    } catch {
      // Redis is away: waiting is all there is to do, and no sign of being wedged.
      idleSince = undefined;
    }
  }

  return {
    alive() {
      idleSince = undefined;
    },
    wedged() {
      if (idleSince === undefined || Date.now() - idleSince < WEDGED_AFTER_MS) return undefined;
      return `jobs wait in ${options.queue}, Redis answers, and none was taken for ${Math.round((Date.now() - idleSince) / 1_000)} s`;
    },
    stop() {
      clearInterval(timer);
    },
  };
}
