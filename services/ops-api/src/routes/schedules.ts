import type { JobRuns } from '@backhaul/database';
import type { Catalog } from '@backhaul/jobs';
import { Router } from 'express';

/** `GET /v1/schedules`: the jobs that fire by themselves and the slot that was fired last. The scheduler's own /schedules says what comes next. */
export function scheduleRoutes(options: { readonly scheduled: Catalog['scheduled']; readonly runs: Pick<JobRuns, 'latest'> }): Router {
  const router = Router();
  router.get('/v1/schedules', async (_request, response) => {
    const latest = await options.runs.latest();
    response.json({
      timezone: 'UTC',
      schedules: options.scheduled.map((job) => ({
        job: job.name,
        queue: job.queue.name,
        cron: job.schedule.cron,
        lastFired: latest.get(job.name)?.toISOString() ?? null,
      })),
    });
  });
  return router;
}
