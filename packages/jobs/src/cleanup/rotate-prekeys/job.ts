import { cleanupPrekeys } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Delete used prekeys after 7 days and unused ones after 90, but never a user's newest 20. Daily at 04:00. */
export const rotatePrekeys = defineJob({
  name: 'cleanup.rotate-prekeys',
  queue: cleanup,
  payload: cleanupPrekeys.data,
  on: cleanupPrekeys,
  schedule: { cron: '0 4 * * *', payload: { type: 'prekeys' } },
  ...cleanupRun,
});
