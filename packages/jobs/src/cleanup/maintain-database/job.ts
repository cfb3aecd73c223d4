import { defineJob } from '@backhaul/queue/job';
import { z } from 'zod';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Prune the fleet's own tables and reclaim what the cleaning left behind. Daily at 03:00. */
export const maintainDatabase = defineJob({
  name: 'cleanup.maintain-database',
  queue: cleanup,
  payload: z.object({}),
  schedule: { cron: '0 3 * * *', payload: {} },
  ...cleanupRun,
});
