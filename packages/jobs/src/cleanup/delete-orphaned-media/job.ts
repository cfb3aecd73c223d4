import { cleanupOrphanedMedia } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Delete processed media whose message is gone. Sundays at 05:00. */
export const deleteOrphanedMedia = defineJob({
  name: 'cleanup.delete-orphaned-media',
  queue: cleanup,
  payload: cleanupOrphanedMedia.data,
  on: cleanupOrphanedMedia,
  schedule: { cron: '0 5 * * 0', payload: { type: 'orphaned_media' } },
  ...cleanupRun,
});
