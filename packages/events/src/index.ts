import { cleanupMessages, cleanupOrphanedMedia, cleanupPrekeys, cleanupSessions, cleanupStories, cleanupTempFiles } from './cleanup.ts';
import { mediaAudio, mediaImage, mediaVideo } from './media.ts';
import { notificationEmail, notificationPush, notificationSms, notificationWithdraw } from './notification.ts';

/** Every event that Backhaul understands. */
export const events = [
  mediaImage,
  mediaVideo,
  mediaAudio,
  notificationPush,
  notificationEmail,
  notificationSms,
  notificationWithdraw,
  cleanupStories,
  cleanupSessions,
  cleanupMessages,
  cleanupTempFiles,
  cleanupPrekeys,
  cleanupOrphanedMedia,
] as const;

export * from './cleanup.ts';
export * from './media.ts';
export * from './notification.ts';
export * from './decode.ts';
