import { checkHealth } from './check-health/job.ts';
import { closeStaleWebsockets } from './close-stale-websockets/job.ts';
import { deleteOrphanedMedia } from './delete-orphaned-media/job.ts';
import { deleteTempFiles } from './delete-temp-files/job.ts';
import { expireSessions } from './expire-sessions/job.ts';
import { expireStories } from './expire-stories/job.ts';
import { maintainDatabase } from './maintain-database/job.ts';
import { purgeMessages } from './purge-messages/job.ts';
import { refreshUserStatistics } from './refresh-user-statistics/job.ts';
import { rotatePrekeys } from './rotate-prekeys/job.ts';

/** Every job of the cleanup queue. */
export const cleanupJobs = [
  expireStories,
  expireSessions,
  purgeMessages,
  deleteTempFiles,
  maintainDatabase,
  rotatePrekeys,
  deleteOrphanedMedia,
  refreshUserStatistics,
  closeStaleWebsockets,
  checkHealth,
] as const;
