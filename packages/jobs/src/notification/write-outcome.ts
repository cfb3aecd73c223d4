import { type JobContext, RetryLater } from '@backhaul/queue/job';
import { pause } from '@backhaul/runtime';
import { RefusedForGood } from './failures.ts';
import { leaseMs } from './limits.ts';
import type { NotificationPorts } from './ports.ts';

/** What became of it; `alreadySent` says that an earlier try had sent it. */
export interface Delivered {
  readonly providerId: string | null;
  readonly alreadySent: boolean;
  readonly confirmedAt: Date;
}

/** Writes down that it was sent. */
export async function confirmed(context: JobContext<NotificationPorts>, key: string, token: string, providerId: string | null): Promise<Delivered> {
  const ours = await written(context, () => context.ports.effects.confirm(key, token, providerId));
  if (!ours) context.log.warn('another try took this send over while it ran: it may have been made twice', { key });
  return { providerId, alreadySent: false, confirmedAt: new Date() };
}

/** Writes down that it was not sent and will not be, in this way, and says so. */
export async function refuse(context: JobContext<NotificationPorts>, key: string, token: string, detail: string): Promise<never> {
  const ours = await written(context, () => context.ports.effects.refuse(key, token, detail));
  // The other may be sending: only what it finds decides about another way.
  if (!ours) throw new RetryLater('delivery_busy', leaseMs, 'another try has taken this send over');
  throw new RefusedForGood(detail);
}

/** Waits between the tries to record a send; a database that is away for longer costs a resend (push, mail) or an `unknown` (SMS). */
const writeDelaysMs = [100, 400, 1_500, 3_000];

async function written(context: JobContext<NotificationPorts>, write: () => Promise<boolean>): Promise<boolean> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await write();
    } catch (error) {
      const delayMs = writeDelaysMs[failures];
      if (delayMs === undefined || context.signal.aborted) throw error;
      await pause(delayMs, context.signal);
    }
  }
}
