import { mediaVideo } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { media, standardRetry } from '../../queues.ts';

/** Make a video play everywhere, from its first bytes on, and give it a poster. Idempotent: the output keys depend only on the message and the source's bytes. */
export const transcodeVideo = defineJob({
  name: 'media.transcode-video',
  queue: media,
  payload: mediaVideo.data,
  on: mediaVideo,
  priority: 1,
  timeoutMs: 5 * 60_000,
  retry: standardRetry,
});
