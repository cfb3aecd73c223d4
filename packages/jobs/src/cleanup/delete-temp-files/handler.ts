import { isAbsolute } from 'node:path';
import { type JobContext, type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { type Disposal, NotDisposed, disposeRows } from '../dispose-rows.ts';
import { hours, olderThanMs } from '../limits.ts';
import type { CleanupPorts, TemporaryFile } from '../ports.ts';
import type { deleteTempFiles } from './job.ts';

/**
 * A path that is not absolute is a key of the bucket. An absolute one is a
 * file, and goes only if it really lies in the folder for temporary files: the
 * path comes from a table that others write. A refused path keeps its row and
 * is reported in the result; trying again would not help.
 */
export const deleteTempFilesHandler: JobHandler<z.output<typeof deleteTempFiles.payload>, CleanupPorts> = async ({ data }, context) => {
  const refused = new Set<string>();
  const { report, kept } = await disposeRows(
    context,
    context.ports.temporaryFiles,
    { olderThanMs: olderThanMs(data, hours(24)), limit: data?.limit },
    async (rows) => {
      const local = await removeLocal(
        context,
        rows.filter((row) => isAbsolute(row.path)),
        refused,
      );
      const stored = await removeStored(
        context,
        rows.filter((row) => !isAbsolute(row.path)),
      );
      return { disposed: [...local.disposed, ...stored.disposed], deletedObjects: local.deletedObjects + stored.deletedObjects };
    },
  );
  const failed = kept.filter((id) => !refused.has(id));
  if (failed.length > 0) throw new NotDisposed(failed, report);
  return done({ ...report, refused: refused.size });
};

async function removeLocal({ ports, log }: JobContext<CleanupPorts>, files: readonly TemporaryFile[], refused: Set<string>): Promise<Disposal> {
  const disposed: string[] = [];
  let deletedObjects = 0;
  for (const file of files) {
    const removal = await ports.localFiles.remove(file.path);
    if (removal === 'removed' || removal === 'absent') {
      disposed.push(file.id);
      if (removal === 'removed') deletedObjects += 1;
      continue;
    }
    refused.add(file.id);
    // The path itself may be an attacker's text, or name somebody: the row's id finds it.
    log.warn('temporary file not removed', { id: file.id, reason: removal });
  }
  return { disposed, deletedObjects };
}

async function removeStored({ ports, signal }: JobContext<CleanupPorts>, files: readonly TemporaryFile[]): Promise<Disposal> {
  const keys = new Set(files.map((file) => file.path).filter((path) => path !== ''));
  const failed = keys.size === 0 ? new Set<string>() : await ports.objects.deleteMany([...keys], signal);
  return { disposed: files.filter((file) => !failed.has(file.path)).map((file) => file.id), deletedObjects: keys.size - failed.size };
}
