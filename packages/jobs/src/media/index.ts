import type { HandlersFor } from '@backhaul/queue/job';
import { convertAudioHandler } from './convert-audio/handler.ts';
import type { mediaJobs } from './jobs.ts';
import type { MediaPorts } from './ports.ts';
import { processImageHandler } from './process-image/handler.ts';
import { transcodeVideoHandler } from './transcode-video/handler.ts';

export { media } from '../queues.ts';
export { MEDIA_FAILURES, MEDIA_WARNINGS, type MediaFailureCode, type MediaWarning, TransientMediaFailure, mediaFailure } from './failures.ts';
export type { MediaFormat, MediaKind } from './format.ts';
export { mediaJobs } from './jobs.ts';
export type { DerivativeRecord, FailedProcessing, MediaMetadata, Placeholder, WaveformRecord } from './metadata.ts';
export type * from './ports.ts';

/** The work of every job in `mediaJobs`; forgetting one does not compile. */
export const mediaHandlers = {
  'media.process-image': processImageHandler,
  'media.transcode-video': transcodeVideoHandler,
  'media.convert-audio': convertAudioHandler,
} satisfies HandlersFor<typeof mediaJobs, MediaPorts>;
