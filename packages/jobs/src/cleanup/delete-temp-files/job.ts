import { cleanupTempFiles } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { cleanup } from '../../queues.ts';
import { cleanupRun } from '../limits.ts';

/** Delete temporary files older than 24 hours, in the bucket and in the local folder. Daily at 02:00. */
export const deleteTempFiles = defineJob({
  name: 'cleanup.delete-temp-files',
  queue: cleanup,
  payload: cleanupTempFiles.data,
  on: cleanupTempFiles,
  schedule: { cron: '0 2 * * *', payload: { type: 'temp_files' } },
  ...cleanupRun,
});
