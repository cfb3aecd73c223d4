import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { inBatches } from '../in-batches.ts';
import { days, olderThanMs } from '../limits.ts';
import type { CleanupPorts } from '../ports.ts';
import type { expireSessions } from './job.ts';

/**
 * Only the last sign of life counts. `is_active` says whether the device is
 * connected just now (cleanup.close-stale-websockets clears it after half an
 * hour), so deleting inactive sessions any sooner would sign out everybody
 * who put the phone away.
 */
export const expireSessionsHandler: JobHandler<z.output<typeof expireSessions.payload>, CleanupPorts> = async ({ data }, context) => {
  const idleMs = olderThanMs(data, days(30));
  const report = await inBatches(context, data?.limit, async (size) => {
    const rows = await context.ports.sessions.deleteIdle({ idleMs, limit: size });
    return { rows, last: rows < size };
  });
  return done({ ...report });
};
