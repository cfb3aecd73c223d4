import { defineJob } from '@backhaul/queue/job';
import { z } from 'zod';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Count messages, media and stories per user. Every 6 hours. */
export const refreshUserStatistics = defineJob({
  name: 'cleanup.refresh-user-statistics',
  queue: cleanup,
  payload: z.object({}),
  schedule: { cron: '0 */6 * * *', payload: {} },
  ...cleanupRun,
});
