import type { BatchContext } from '@backhaul/queue/job';
import { describeError, failpoint } from '@backhaul/runtime';
import { heedAnswer } from './heed-brake.ts';
import { sendTimeoutMs } from './limits.ts';
import type { Delivery, NotificationPorts, NotificationRecord } from './ports.ts';

/** Makes one send within its time limit; whatever happens, the answer is a Delivery. */
export async function attemptSend(
  context: BatchContext<NotificationPorts>,
  message: { readonly channel: NotificationRecord['channel']; send(signal: AbortSignal, again: boolean): Promise<Delivery> },
  again: boolean,
): Promise<Delivery> {
  if (context.signal.aborted) return { outcome: 'unavailable', detail: 'the job was stopped before sending' };
  // Not AbortSignal.any: at thousands of sends a second that alone is a tenth of what a send costs.
  const end = new AbortController();
  const onAbort = () => end.abort(context.signal.reason);
  context.signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => end.abort(new Error(`the provider took longer than ${sendTimeoutMs} ms`)), sendTimeoutMs);
  failpoint('notification.claimed');
  try {
    const delivery = await message.send(end.signal, again);
    failpoint('notification.sent');
    await heedAnswer(context, message.channel, delivery);
    return delivery;
  } catch (error) {
    // An adapter does not throw. If one does, nobody knows how far it came.
    context.log.error('a provider adapter failed unexpectedly', { error });
    return { outcome: 'ambiguous', detail: describeError(error).message };
  } finally {
    clearTimeout(timer);
    context.signal.removeEventListener('abort', onAbort);
  }
}
