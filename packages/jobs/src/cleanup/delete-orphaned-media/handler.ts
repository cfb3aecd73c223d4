import { type JobContext, type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { inBatches } from '../in-batches.ts';
import { hours, olderThanMs } from '../limits.ts';
import type { CleanupPorts } from '../ports.ts';
import type { deleteOrphanedMedia } from './job.ts';
import { type MediaFolder, mediaFolders } from './media-folders.ts';

const CURSOR = 'cleanup.delete-orphaned-media';
const PREFIX = 'media/';

/**
 * Walks over the bucket's `media/` and deletes the folders that are older
 * than the grace period, whose message has no row, and of which no message
 * (forwarded) and no story (shared) shows anything. The walk is kept between
 * runs, so that a bucket that takes longer than one run is walked to its end.
 * `limit` counts the objects looked at.
 */
export const deleteOrphanedMediaHandler: JobHandler<z.output<typeof deleteOrphanedMedia.payload>, CleanupPorts> = async ({ data }, context) => {
  const { ports, signal } = context;
  const graceMs = olderThanMs(data, hours(24));
  const after = await ports.cursors.load(CURSOR);
  const folders = mediaFolders(ports.objects.list(PREFIX, { after, signal }));
  const failed: string[] = [];
  try {
    const report = await inBatches(context, data?.limit, async (size) => {
      const { batch, ended } = await take(folders, size);
      const orphans = await orphansAmong(batch, graceMs, ports);
      const keys = orphans.flatMap((folder) => folder.keys);
      const notDeleted = keys.length === 0 ? new Set<string>() : await ports.objects.deleteMany(keys, signal);
      failed.push(...notDeleted);
      // After the deletion: a crash between the two looks at this batch again, which is harmless.
      await ports.cursors.save(CURSOR, ended ? undefined : batch.at(-1)?.keys.at(-1));
      return { rows: batch.reduce((sum, folder) => sum + folder.keys.length, 0), objects: keys.length - notDeleted.size, last: ended };
    });
    // The next walk finds them again: no reason to walk the whole bucket once more now.
    if (failed.length > 0) context.log.warn('orphaned media not deleted', { count: failed.length, first: failed.slice(0, 5) });
    const { rows: scannedObjects, ...rest } = report;
    return done({ ...rest, scannedObjects, failedObjects: failed.length });
  } finally {
    await folders.return(undefined);
  }
};

/** The next folders, up to about `size` objects. */
async function take(folders: AsyncGenerator<MediaFolder>, size: number): Promise<{ batch: MediaFolder[]; ended: boolean }> {
  const batch: MediaFolder[] = [];
  for (let count = 0; count < size;) {
    const next = await folders.next();
    if (next.done === true) return { batch, ended: true };
    batch.push(next.value);
    count += next.value.keys.length;
  }
  return { batch, ended: false };
}

async function orphansAmong(
  folders: readonly MediaFolder[],
  graceMs: number,
  { mediaOwners, objects }: JobContext<CleanupPorts>['ports'],
): Promise<MediaFolder[]> {
  // A message's row may be written after its media: young objects are left alone.
  const old = folders.filter((folder) => folder.modifiedAt.getTime() < Date.now() - graceMs);
  if (old.length === 0) return [];
  const existing = await mediaOwners.existing(old.map((folder) => folder.messageId));
  const ownerless = old.filter((folder) => !existing.has(folder.messageId.toLowerCase()));
  if (ownerless.length === 0) return [];
  const shown = await mediaOwners.shown(ownerless.flatMap((folder) => folder.keys.map((key) => objects.publicUrl(key))));
  return ownerless.filter((folder) => !folder.keys.some((key) => shown.has(objects.publicUrl(key))));
}
