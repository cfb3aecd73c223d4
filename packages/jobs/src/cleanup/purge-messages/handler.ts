import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { deleteMedia, ownKeys } from '../delete-media.ts';
import { NotDisposed, disposeRows } from '../dispose-rows.ts';
import { days, olderThanMs } from '../limits.ts';
import type { CleanupPorts, MediaRow, Objects } from '../ports.ts';
import type { purgeMessages } from './job.ts';

/** Objects first, rows after; a message whose objects could not be deleted stays, and the job is tried again. */
export const purgeMessagesHandler: JobHandler<z.output<typeof purgeMessages.payload>, CleanupPorts> = async ({ data }, context) => {
  const { ports, signal } = context;
  const { report, kept } = await disposeRows(context, ports.messages, { olderThanMs: olderThanMs(data, days(30)), limit: data?.limit }, (rows) =>
    deleteMedia(context, rows, (row) => keysOfMessage(row, ports.objects, signal)),
  );
  if (kept.length > 0) throw new NotDisposed(kept, report);
  return done({ ...report });
};

/**
 * Everything under `media/<message id>/`, and what its URLs show. Messages
 * that never had media are not looked up in the store: that would be one
 * request for each text message. A forwarded message shows the first one's
 * media, so while anybody shows them the whole folder stays;
 * cleanup.delete-orphaned-media takes it when nobody does any more.
 */
async function keysOfMessage(row: MediaRow, objects: Objects, signal: AbortSignal): Promise<string[]> {
  if (!row.hasMedia) return [];
  const folder = `media/${row.id}/`;
  const keys = ownKeys(row, objects.keyOf);
  if (row.sharedUrls.length > 0) return keys.filter((key) => !key.startsWith(folder));
  for await (const { key } of objects.list(folder, { signal })) keys.push(key);
  return keys;
}
