import { defineEvent } from '@backhaul/broker/event';
import { z } from 'zod';

/** What a cleanup event may set; what it leaves out is the job's own default. */
const cleanupData = z
  .object({
    /** Older than this many hours counts as old. */
    olderThanHours: z
      .number()
      .int()
      .min(0)
      .max(24 * 365 * 10)
      .optional(),
    /** Stop after this many rows or objects; the next run goes on. */
    limit: z.number().int().min(1).max(10_000_000).optional(),
  })
  .optional();

/** Expired stories go, with their media. */
export const cleanupStories = cleanup('stories');
/** Sessions that nobody used for long go. */
export const cleanupSessions = cleanup('sessions');
/** Messages that their authors deleted long ago go for good, with their media. */
export const cleanupMessages = cleanup('messages');
/** Forgotten temporary files go. */
export const cleanupTempFiles = cleanup('temp_files');
/** Used and outdated prekeys go. */
export const cleanupPrekeys = cleanup('prekeys');
/** Processed media whose message is gone goes. */
export const cleanupOrphanedMedia = cleanup('orphaned_media');

function cleanup<const Type extends string>(type: Type) {
  return defineEvent({ routingKey: `cleanup.${type}` as const, data: z.object({ type: z.literal(type), data: cleanupData }), example: { type } });
}
