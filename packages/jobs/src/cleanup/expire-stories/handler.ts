import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { deleteMedia, ownKeys } from '../delete-media.ts';
import { NotDisposed, disposeRows } from '../dispose-rows.ts';
import { hours, olderThanMs } from '../limits.ts';
import type { CleanupPorts } from '../ports.ts';
import type { expireStories } from './job.ts';

/** Objects first, rows after; a story whose objects could not be deleted stays, and the job is tried again. */
export const expireStoriesHandler: JobHandler<z.output<typeof expireStories.payload>, CleanupPorts> = async ({ data }, context) => {
  const { ports } = context;
  const { report, kept } = await disposeRows(context, ports.stories, { olderThanMs: olderThanMs(data, hours(24)), limit: data?.limit }, (rows) =>
    deleteMedia(context, rows, async (row) => ownKeys(row, ports.objects.keyOf)),
  );
  if (kept.length > 0) throw new NotDisposed(kept, report);
  return done({ ...report });
};
