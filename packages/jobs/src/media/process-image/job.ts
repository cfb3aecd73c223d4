import { mediaImage } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { media, standardRetry } from '../../queues.ts';

/** Make a picture fit to show: upright, without metadata, in up to three sizes. Idempotent: the output keys depend only on the message and the source's bytes. */
export const processImage = defineJob({
  name: 'media.process-image',
  queue: media,
  payload: mediaImage.data,
  on: mediaImage,
  priority: 2,
  timeoutMs: 60_000,
  retry: standardRetry,
});
