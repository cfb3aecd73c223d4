import { mediaAudio } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { media, standardRetry } from '../../queues.ts';

/** Make a voice note or other sound play everywhere, and draw its waveform. Idempotent: the output keys depend only on the message and the source's bytes. */
export const convertAudio = defineJob({
  name: 'media.convert-audio',
  queue: media,
  payload: mediaAudio.data,
  on: mediaAudio,
  priority: 1,
  // Half an hour of sound, made equally loud by half a busy core, and its way from and to the store.
  timeoutMs: 3 * 60_000,
  retry: standardRetry,
});
