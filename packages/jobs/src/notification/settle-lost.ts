import { type JobContext, PermanentFailure, RetryLater } from '@backhaul/queue/job';
import { unknownDelivery } from './failures.ts';
import { leaseMs, sendTimeoutMs } from './limits.ts';
import type { LookUp, NotificationPorts } from './ports.ts';
import { type Delivered, confirmed, refuse } from './write-outcome.ts';

/** A send that may have been made, and must not be made again. */
interface LostSend {
  readonly key: string;
  lookUp?(since: Date, signal: AbortSignal): Promise<LookUp>;
}

/** For how long a provider that does not answer is asked again about a lost send. */
const lookUpForMs = 3_600_000;

/** Finds out about a send that was lost on the way, without making it again. */
export async function settleLost(context: JobContext<NotificationPorts>, message: LostSend, claim: { token: string; claimedAt: Date }): Promise<Delivered> {
  const { effects } = context.ports;
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(sendTimeoutMs)]);
  const found: LookUp = (await message.lookUp?.(claim.claimedAt, signal)) ?? { outcome: 'not_found' };
  switch (found.outcome) {
    case 'found':
      return { ...(await confirmed(context, message.key, claim.token, found.providerId)), alreadySent: true };
    case 'undelivered':
      await effects.giveUp(message.key, claim.token, `the provider took it as ${found.providerId}: ${found.detail}`);
      throw new PermanentFailure('undelivered', found.detail);
    case 'refused':
      return refuse(context, message.key, claim.token, found.detail);
    case 'unreadable':
      if (Date.now() - claim.claimedAt.getTime() < lookUpForMs)
        throw new RetryLater('delivery_ambiguous', leaseMs, `the provider could not be asked about the lost send: ${found.detail}`);
      break;
    case 'not_found':
      break;
  }
  const detail = found.outcome === 'not_found' ? 'an earlier try was lost on the way' : `an earlier try was lost, and nobody answers for it: ${found.detail}`;
  await effects.giveUp(message.key, claim.token, detail);
  throw unknownDelivery(detail);
}
