import type { JobContext, Outcome } from '@backhaul/queue/job';
import { type DeliverOnce, type Otherwise, deliverOnce } from './deliver-once.ts';
import { RefusedForGood } from './failures.ts';
import type { NotificationPorts } from './ports.ts';
import type { Delivered } from './write-outcome.ts';

/** What became of it, and what is kept of the way that it went. */
interface DeliveredOneWay extends Delivered {
  readonly result: object;
}

/**
 * Delivers a message by its first way, or by the next one when that is certain
 * not to reach the person: refused, or accepted and then reported as failed.
 * The ledger has the first way as refused before the next one is touched, so
 * that at no time both can be confirmed, whoever runs the job again.
 */
export async function deliverWays(context: JobContext<NotificationPorts>, message: DeliverOnce): Promise<DeliveredOneWay | Outcome> {
  if (message.otherwise === undefined) {
    const delivered = await deliverOnce(context, message);
    return 'status' in delivered ? delivered : { ...delivered, result: message.result ?? {} };
  }
  const first = await firstWay(context, message, message.otherwise);
  if (first !== undefined) return first;
  const next = message.otherwise.message;
  context.log.info('the person is not reached in this way, the next one is taken', { key: message.key, next: next.key });
  return deliverWays(context, next);
}

/** Undefined once the ledger says that this way is closed. */
async function firstWay(context: JobContext<NotificationPorts>, message: DeliverOnce, otherwise: Otherwise): Promise<DeliveredOneWay | Outcome | undefined> {
  try {
    const delivered = await deliverOnce(context, message);
    if ('status' in delivered) return delivered;
    const failure = await otherwise.failedSince(delivered.confirmedAt);
    if (failure === undefined) return { ...delivered, result: message.result ?? {} };
    await context.ports.effects.disprove(message.key, failure);
    return undefined;
  } catch (error) {
    if (error instanceof RefusedForGood) return undefined;
    throw error;
  }
}
