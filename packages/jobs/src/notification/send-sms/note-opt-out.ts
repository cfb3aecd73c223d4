import type { JobContext } from '@backhaul/queue/job';
import type { Delivery, NotificationPorts } from '../ports.ts';

/**
 * Keeps an opt-out that the provider answered with. It refuses the next
 * message as well: a failure to note it loses nothing, a throw here would read
 * as "maybe sent".
 */
export async function noteOptOut(context: JobContext<NotificationPorts>, to: string, delivery: Delivery): Promise<Delivery> {
  if (delivery.outcome === 'refused' && delivery.code === 'opted_out')
    await context.ports.smsGuard.optOut(to).catch((error: unknown) => context.log.warn('an opt-out could not be kept', { error }));
  return delivery;
}
