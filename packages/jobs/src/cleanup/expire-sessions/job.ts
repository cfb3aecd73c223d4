import { cleanupSessions } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Delete sessions that nobody used for 30 days. Daily at 00:00. */
export const expireSessions = defineJob({
  name: 'cleanup.expire-sessions',
  queue: cleanup,
  payload: cleanupSessions.data,
  on: cleanupSessions,
  schedule: { cron: '0 0 * * *', payload: { type: 'sessions' } },
  ...cleanupRun,
});
