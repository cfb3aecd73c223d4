import { defineEvent } from '@backhaul/broker/event';
import { z } from 'zod';

/** What every media event carries. */
const mediaFields = {
  /** Where the original lies in the bucket. */
  s3Key: z.string().min(1).max(1024),
  /** Who sent it. */
  userId: z.string().min(1).max(200),
  /** The row of `messages` that the result belongs to. */
  messageId: z.guid(),
  /** What the sender called the file; shown to people, never used as a path or to guess the type. */
  originalName: z.string().max(1024).optional(),
};

const example = {
  s3Key: 'uploads/0d6f9b0e/holiday.jpg',
  userId: '8a5c2f54-93a4-4d26-b1a4-2f3dbd0f6f11',
  messageId: '0d6f9b0e-6a63-4f0b-9f0e-3f4b8f0c2a11',
  originalName: 'holiday.jpg',
};

/** A picture was uploaded. */
export const mediaImage = defineEvent({
  routingKey: 'media.image',
  data: z.object({ type: z.literal('image'), ...mediaFields }),
  example: { type: 'image', ...example },
});

/** A video was uploaded. */
export const mediaVideo = defineEvent({
  routingKey: 'media.video',
  data: z.object({ type: z.literal('video'), ...mediaFields }),
  example: { type: 'video', ...example, s3Key: 'uploads/0d6f9b0e/clip.mov', originalName: 'clip.mov' },
});

/** A voice note or another sound was uploaded. */
export const mediaAudio = defineEvent({
  routingKey: 'media.audio',
  data: z.object({ type: z.literal('audio'), ...mediaFields }),
  example: { type: 'audio', ...example, s3Key: 'uploads/0d6f9b0e/note.ogg', originalName: 'note.ogg' },
});
