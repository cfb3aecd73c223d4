import { cleanupStories } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Delete stories after their 24 hours, with their pictures and videos. Hourly. */
export const expireStories = defineJob({
  name: 'cleanup.expire-stories',
  queue: cleanup,
  payload: cleanupStories.data,
  on: cleanupStories,
  schedule: { cron: '0 * * * *', payload: { type: 'stories' } },
  ...cleanupRun,
});
