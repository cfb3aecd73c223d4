import type { Schedule } from './schedule.ts';

/** What `GET /schedules` answers. */
export interface SchedulesView {
  readonly timezone: 'UTC';
  readonly schedules: readonly {
    readonly job: string;
    readonly queue: string;
    readonly cron: string;
    /** Whether the operator gave another time than the job's own. */
    readonly overridden: boolean;
    readonly next: readonly string[];
    /** The latest slot that any scheduler fired. */
    readonly lastFired: string | null;
  }[];
}

/** The schedules with their next three fires, soonest first. */
export function createSchedulesView(schedules: readonly Schedule[], latest: () => Promise<ReadonlyMap<string, Date>>): () => Promise<SchedulesView> {
  return async () => {
    const fired = await latest();
    return {
      timezone: 'UTC',
      schedules: schedules
        .map(({ job, cron, next }) => ({
          job: job.name,
          queue: job.queue.name,
          cron,
          overridden: cron !== job.schedule.cron,
          next: next(3).map((date) => date.toISOString()),
          lastFired: fired.get(job.name)?.toISOString() ?? null,
        }))
        .toSorted((a, b) => String(a.next[0]).localeCompare(String(b.next[0]))),
    };
  };
}
