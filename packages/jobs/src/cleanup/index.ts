import type { HandlersFor } from '@backhaul/queue/job';
import { checkHealthHandler } from './check-health/handler.ts';
import { closeStaleWebsocketsHandler } from './close-stale-websockets/handler.ts';
import { deleteOrphanedMediaHandler } from './delete-orphaned-media/handler.ts';
import { deleteTempFilesHandler } from './delete-temp-files/handler.ts';
import { expireSessionsHandler } from './expire-sessions/handler.ts';
import { expireStoriesHandler } from './expire-stories/handler.ts';
import type { cleanupJobs } from './jobs.ts';
import { maintainDatabaseHandler } from './maintain-database/handler.ts';
import type { CleanupPorts } from './ports.ts';
import { purgeMessagesHandler } from './purge-messages/handler.ts';
import { refreshUserStatisticsHandler } from './refresh-user-statistics/handler.ts';
import { rotatePrekeysHandler } from './rotate-prekeys/handler.ts';

export { cleanupJobs } from './jobs.ts';
export type * from './ports.ts';

/** The work of every job of the cleanup queue: a job without one does not compile. */
export const cleanupHandlers = {
  'cleanup.expire-stories': expireStoriesHandler,
  'cleanup.expire-sessions': expireSessionsHandler,
  'cleanup.purge-messages': purgeMessagesHandler,
  'cleanup.delete-temp-files': deleteTempFilesHandler,
  'cleanup.maintain-database': maintainDatabaseHandler,
  'cleanup.rotate-prekeys': rotatePrekeysHandler,
  'cleanup.delete-orphaned-media': deleteOrphanedMediaHandler,
  'cleanup.refresh-user-statistics': refreshUserStatisticsHandler,
  'cleanup.close-stale-websockets': closeStaleWebsocketsHandler,
  'cleanup.check-health': checkHealthHandler,
} satisfies HandlersFor<typeof cleanupJobs, CleanupPorts>;
