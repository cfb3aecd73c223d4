import { cleanupMessages } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Delete for good what its author deleted 30 days ago, with all its media. Daily at 01:00. */
export const purgeMessages = defineJob({
  name: 'cleanup.purge-messages',
  queue: cleanup,
  payload: cleanupMessages.data,
  on: cleanupMessages,
  schedule: { cron: '0 1 * * *', payload: { type: 'messages' } },
  ...cleanupRun,
});
