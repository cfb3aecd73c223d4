import { type Logger, pause } from '@backhaul/runtime';
import { type ScheduledTask, type Logger as CronLogger, createTask } from 'node-cron';
import type { Fire } from './fire.ts';
import { type Schedule, latestSlot, slotOf } from './schedule.ts';

/** How the scheduler is made. */
export interface SchedulerOptions {
  readonly schedules: readonly Schedule[];
  readonly fire: Fire;
  /** The latest fire on record of each job, to know what was missed. */
  readonly latest: () => Promise<ReadonlyMap<string, Date>>;
  /** How old a missed slot may be and still be fired at the start; 0 for none. */
  readonly catchUpMs: number;
  /** The wait before a fire that failed is tried again. Default 5,000. */
  readonly retryMs?: number;
  readonly log: Logger;
  /** Told of every attempt's end. */
  readonly onFire?: (job: string, result: 'fired' | 'taken' | 'failed' | 'superseded') => void;
}

/** The running scheduler. */
export interface Scheduler {
  /** What is wedged: a schedule whose slot passed minutes ago without a fire. */
  wedged(): string | undefined;
  close(): Promise<void>;
}

/** How long after its slot a schedule counts as stuck. */
const WEDGED_AFTER_MS = 5 * 60_000;

/**
 * Fires each schedule at its slots, and at the start each one's latest missed
 * slot. Of several missed slots (a stop, a suspended machine, an outage) only
 * the latest is fired: the jobs clean up whatever is there, so the others
 * would find nothing to do.
 *
 * A fire that fails is tried again until it succeeds or the next slot comes.
 */
export function startScheduler(options: SchedulerOptions): Scheduler {
  const { schedules, log, catchUpMs, retryMs = 5_000, onFire = () => undefined } = options;
  const stop = new AbortController();
  const newest = new Map<string, Date>();
  const due = new Map<string, Date | undefined>();
  const running = new Set<Promise<void>>();

  async function fireSlot(schedule: Schedule, slot: Date): Promise<void> {
    const { job } = schedule;
    const superseded = () => newest.get(job.name) !== slot;
    for (;;) {
      // After a suspension node-cron reports every missed slot in a row: let them come before the latest is taken.
      await new Promise((resolve) => setImmediate(resolve));
      if (stop.signal.aborted) return;
      if (superseded()) {
        log.info('slot left out for a later one', { job: job.name, slot: slot.toISOString() });
        return onFire(job.name, 'superseded');
      }
      try {
        const result = await options.fire(job, slot);
        log.info(result === 'fired' ? 'schedule fired' : 'slot already fired', { job: job.name, slot: slot.toISOString() });
        return onFire(job.name, result);
      } catch (error) {
        log.warn('schedule could not be fired, trying again', { job: job.name, slot: slot.toISOString(), error });
        onFire(job.name, 'failed');
        await pause(retryMs, stop.signal);
      }
    }
  }

  function begin(schedule: Schedule, date: Date): void {
    const { name } = schedule.job;
    const slot = slotOf(date);
    const known = newest.get(name);
    // The catch-up and the timer may both come with one slot; the clock may have been set back.
    if (known !== undefined && known >= slot) return;
    newest.set(name, slot);
    due.set(name, schedule.next(1)[0]);
    const fired: Promise<void> = fireSlot(schedule, slot)
      .catch((error: unknown) => log.error('scheduling failed', { job: name, error }))
      .finally(() => running.delete(fired));
    running.add(fired);
  }

  async function catchUp(): Promise<void> {
    if (catchUpMs === 0) return;
    let latest: ReadonlyMap<string, Date> | undefined;
    while (latest === undefined) {
      if (stop.signal.aborted) return;
      latest = await options.latest().catch(async (error: unknown) => {
        log.warn('missed fires cannot be looked up yet', { error });
        await pause(retryMs, stop.signal);
        return undefined;
      });
    }
    for (const schedule of schedules) {
      const slot = latestSlot(schedule, new Date(), catchUpMs);
      const last = latest.get(schedule.job.name);
      if (slot === undefined || (last !== undefined && last >= slot)) continue;
      log.info('catching up', { job: schedule.job.name, slot: slot.toISOString() });
      begin(schedule, slot);
    }
  }

  const tasks = schedules.map((schedule): ScheduledTask => {
    const { name } = schedule.job;
    const task = createTask(schedule.cron, ({ date }) => begin(schedule, date), { timezone: 'UTC', name, suppressMissedWarning: true, logger: adapt(log) });
    // The process was busy or suspended at the slot: late is better than not at all, and the record sees to "once".
    task.on('execution:missed', ({ date }) => begin(schedule, date));
    due.set(name, schedule.next(1)[0]);
    return task;
  });
  for (const task of tasks) void task.start();
  const catchingUp = catchUp().catch((error: unknown) => log.error('catching up failed', { error }));

  return {
    wedged() {
      const stuck = [...due].find(([, date]) => date !== undefined && Date.now() - date.getTime() > WEDGED_AFTER_MS);
      return stuck === undefined ? undefined : `${stuck[0]} was due at ${stuck[1]?.toISOString()} and did not fire`;
    },
    async close() {
      for (const task of tasks) await task.destroy();
      stop.abort();
      await catchingUp;
      await Promise.all(running);
    },
  };
}

/** node-cron writes to the console unless it is told otherwise. */
function adapt(log: Logger): CronLogger {
  return {
    info: (message) => log.debug(message),
    warn: (message) => log.warn(message),
    error: (message, error) => log.error('node-cron', { error: error ?? message }),
    debug: (message) => log.debug(String(message)),
  };
}
