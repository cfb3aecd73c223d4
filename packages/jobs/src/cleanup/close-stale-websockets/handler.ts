import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { inBatches } from '../in-batches.ts';
import type { CleanupPorts } from '../ports.ts';
import type { closeStaleWebsockets } from './job.ts';

/** A client's heartbeat renews `last_active_at` every few minutes at least; after this it is gone. */
const IDLE_MS = 30 * 60_000;

/** Connections whose end nobody noticed: the server died, or the phone lost its network. */
export const closeStaleWebsocketsHandler: JobHandler<z.output<typeof closeStaleWebsockets.payload>, CleanupPorts> = async (_payload, context) => {
  const { rows, batches, complete } = await inBatches(context, undefined, async (size) => {
    const closed = await context.ports.sessions.markAway({ idleMs: IDLE_MS, limit: size });
    return { rows: closed, last: closed < size };
  });
  return done({ closedSessions: rows, batches, complete });
};
