import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { inBatches } from '../in-batches.ts';
import type { CleanupPorts } from '../ports.ts';
import type { refreshUserStatistics } from './job.ts';

const CURSOR = 'cleanup.refresh-user-statistics';

/** Walks over the users, some at a time; where the time ends, the next run goes on. */
export const refreshUserStatisticsHandler: JobHandler<z.output<typeof refreshUserStatistics.payload>, CleanupPorts> = async (_payload, context) => {
  const { statistics, cursors } = context.ports;
  let cursor = await cursors.load(CURSOR);
  const { rows, batches, complete } = await inBatches(context, undefined, async (size) => {
    const userIds = await statistics.usersAfter(cursor, size);
    if (userIds.length > 0) await statistics.refresh(userIds);
    const last = userIds.length < size;
    cursor = last ? undefined : userIds.at(-1);
    await cursors.save(CURSOR, cursor);
    return { rows: userIds.length, last };
  });
  return done({ users: rows, batches, complete });
};
