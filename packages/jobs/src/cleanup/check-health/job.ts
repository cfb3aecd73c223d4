import { defineJob } from '@backhaul/queue/job';
import { z } from 'zod';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Look at the dependencies and the queues, and write down what was found. Every 5 minutes. */
export const checkHealth = defineJob({
  name: 'cleanup.check-health',
  queue: cleanup,
  payload: z.object({}),
  schedule: { cron: '*/5 * * * *', payload: {} },
  ...cleanupRun,
});
