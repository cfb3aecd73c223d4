import { type JobContext, PermanentFailure, RetryLater, TimedOut } from '@backhaul/queue/job';
import { TransientMediaFailure, classOf } from './failures.ts';
import { PIPELINE_VERSION } from './metadata.ts';
import type { MediaPorts } from './ports.ts';

/**
 * Tells the app through the row that there will be nothing to show: after a
 * permanent failure, and after the last try whatever its failure was. Never in
 * the way of the failure itself, which the job's record keeps.
 */
export async function noteFailure(
  error: unknown,
  { messageId, s3Key }: { readonly messageId: string; readonly s3Key: string },
  { ports, signal, lastTry, log }: JobContext<MediaPorts>,
): Promise<void> {
  const timedOut = signal.reason instanceof TimedOut;
  // Taken away, to be run again elsewhere: whoever runs it then decides what the row says.
  if (signal.aborted && !timedOut) return;
  const permanent = !signal.aborted && error instanceof PermanentFailure;
  if (!permanent && (!lastTry || error instanceof RetryLater)) return;
  const { code, reason } = whatToSay(error, timedOut);
  try {
    await ports.messages.fail(messageId, { state: 'failed', pipelineVersion: PIPELINE_VERSION, sourceKey: s3Key, code, class: classOf(code), reason });
  } catch (noting) {
    // A permanent failure that the row does not tell would show as work in progress for ever: try the whole again while there are tries.
    if (!lastTry) throw noting;
    log.warn('the message row could not be told of the failure', { error: noting });
  }
}

function whatToSay(error: unknown, timedOut: boolean): { code: string; reason: string } {
  if (timedOut) return { code: 'timeout', reason: 'processing took too long, several times' };
  if (error instanceof PermanentFailure || error instanceof TransientMediaFailure) return { code: error.code, reason: error.message };
  return { code: 'unavailable', reason: 'processing failed several times for reasons that lie with the service' };
}
