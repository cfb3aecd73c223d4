import { TransientMediaFailure, mediaFailure } from '@backhaul/jobs/media';
import { PermanentFailure } from '@backhaul/queue/job';

/**
 * Makes a failure of the closed list of what libvips says. It has no error
 * codes: its words are all there is. Unknown words about one input are that
 * input's fault; words about the machine are passed on, to be tried again.
 * @param attempt the job's try: a picture that takes too long once may have met a busy machine, twice it is the picture
 */
export function blameImage(error: unknown, attempt: number): unknown {
  if (!(error instanceof Error) || error instanceof PermanentFailure || error instanceof TransientMediaFailure) return error;
  const { message } = error;
  if (/timeout/i.test(message)) {
    if (attempt > 1) return mediaFailure('timeout', `the picture took too long to work over, again: ${message}`, { cause: error });
    return new TransientMediaFailure('decoder_died', `the picture took too long to work over: ${message}`, { cause: error });
  }
  if (/out of memory|failed to allocate|ENOMEM|ENOSPC|EMFILE/i.test(message)) return error;
  if (/exceeds pixel limit|exceeds .*channel|security limit|too large|too big/i.test(message))
    return mediaFailure('too_large', `the picture is too large to decode: ${message}`, { cause: error });
  if (/unsupported|blocked|not a known|no known|not been built in/i.test(message))
    return mediaFailure('unsupported', `the picture is in a format that is not accepted: ${message}`, { cause: error });
  return mediaFailure('corrupt', `the picture cannot be decoded: ${message}`, { cause: error });
}
