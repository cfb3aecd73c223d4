import { convertAudio } from './convert-audio/job.ts';
import { processImage } from './process-image/job.ts';
import { transcodeVideo } from './transcode-video/job.ts';

/** Every job of the queue `media`. Definitions only: whoever lists jobs does not load the handlers. */
export const mediaJobs = [processImage, transcodeVideo, convertAudio] as const;
