import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { inBatches } from '../in-batches.ts';
import { days, olderThanMs } from '../limits.ts';
import type { CleanupPorts } from '../ports.ts';
import type { rotatePrekeys } from './job.ts';

const CURSOR = 'cleanup.rotate-prekeys';
/** Without unused prekeys nobody can start an encrypted chat with the user while the phone is off, however old the keys are. */
const KEEP_UNUSED = 20;

/**
 * Walks over the users, some at a time, and deletes what is outdated of
 * theirs. A walk, because what must stay (old keys of users who were long
 * away) would be read again by every batch that looked for "the oldest".
 * `olderThanHours` replaces the 7 days after use; unused keys have their 90.
 */
export const rotatePrekeysHandler: JobHandler<z.output<typeof rotatePrekeys.payload>, CleanupPorts> = async ({ data }, context) => {
  const { prekeys, cursors } = context.ports;
  const ages = { usedForMs: olderThanMs(data, days(7)), unusedForMs: days(90), keepUnused: KEEP_UNUSED };
  let cursor = await cursors.load(CURSOR);
  let userIds: readonly string[] = [];
  let finished = true;
  const report = await inBatches(context, data?.limit, async (size) => {
    if (finished) userIds = await prekeys.usersAfter(cursor, context.ports.pace.batchSize);
    if (userIds.length === 0) {
      await cursors.save(CURSOR, undefined);
      return { rows: 0, last: true };
    }
    const rows = await prekeys.deleteOutdated({ ...ages, userIds, limit: size });
    // A full batch: these users may have more.
    finished = rows < size;
    if (finished) {
      cursor = userIds.at(-1);
      await cursors.save(CURSOR, cursor);
    }
    return { rows, last: false };
  });
  return done({ ...report });
};
