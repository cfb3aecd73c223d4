import type { BatchContext } from '@backhaul/queue/job';
import { describeError, failpoint } from '@backhaul/runtime';
import { heedAnswer } from './heed-brake.ts';
import { sendTimeoutMs } from './limits.ts';
import type { Delivery, NotificationPorts, NotificationRecord } from './ports.ts';

/** What is sent, and through which channel. */
interface Sending {
  readonly channel: NotificationRecord['channel'];
  send(signal: AbortSignal, again: boolean): Promise<Delivery>;
}

/** Makes one send within its time limit; whatever happens, the answer is a Delivery. */
export async function attemptSend(context: BatchContext<NotificationPorts>, message: Sending, again: boolean): Promise<Delivery> {
  const limit = sendLimit(context.signal);
  try {
    return await sendWithin(limit.signal, context, message, again);
  } finally {
    limit.over();
  }
}

/** The time limit of sends that begin now; `signal` aborts when it is reached, and with the run. To be told when they are over. */
export function sendLimit(run: AbortSignal): { readonly signal: AbortSignal; over(): void } {
  // Not AbortSignal.any: at thousands of sends a second that alone is a tenth of what a send costs.
  const end = new AbortController();
  const onAbort = () => end.abort(run.reason);
  run.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => end.abort(new Error(`the provider took longer than ${sendTimeoutMs} ms`)), sendTimeoutMs);
  return {
    signal: end.signal,
    over() {
      clearTimeout(timer);
      run.removeEventListener('abort', onAbort);
    },
  };
}

/** Makes one send that ends with `limit` at the latest; whatever happens, the answer is a Delivery. */
export async function sendWithin(limit: AbortSignal, context: BatchContext<NotificationPorts>, message: Sending, again: boolean): Promise<Delivery> {
  if (context.signal.aborted) return { outcome: 'unavailable', detail: 'the job was stopped before sending' };
  failpoint('notification.claimed');
  try {
    const delivery = await message.send(limit, again);
    failpoint('notification.sent');
    await heedAnswer(context, message.channel, delivery);
    return delivery;
  } catch (error) {
    // An adapter does not throw. If one does, nobody knows how far it came.
    context.log.error('a provider adapter failed unexpectedly', { error });
    return { outcome: 'ambiguous', detail: describeError(error).message };
  }
}
