import { defineJob } from '@backhaul/queue/job';
import { z } from 'zod';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Mark sessions without a sign of life for 30 minutes as not active. Every 15 minutes. */
export const closeStaleWebsockets = defineJob({
  name: 'cleanup.close-stale-websockets',
  queue: cleanup,
  payload: z.object({}),
  schedule: { cron: '*/15 * * * *', payload: {} },
  ...cleanupRun,
});
