import { type JobContext, PermanentFailure, RetryLater } from '@backhaul/queue/job';
import { leaseMs } from './limits.ts';
import type { Delivery, NotificationPorts } from './ports.ts';

/** The provider cannot work or cannot be reached; nothing was sent. Retried by the job's policy. */
class ProviderUnavailable extends Error {
  readonly code = 'provider_unavailable';

  constructor(detail: string) {
    super(`the provider did not take the message: ${detail}`);
    this.name = 'ProviderUnavailable';
  }
}

/** The message was not sent in this way and never will be; another way to the person is open. */
export class RefusedForGood extends PermanentFailure {
  constructor(detail: string) {
    super('refused', detail);
    this.name = 'RefusedForGood';
  }
}

/** The wait when a provider says "not now" without a time. */
const defaultDeferralMs = 60_000;
/** A provider's wish is followed from one second up to an hour: beyond that, asking again is cheaper than trusting a broken clock. */
const minDeferralMs = 1_000;
const maxDeferralMs = 3_600_000;
/** The wait before credentials are tried again that were refused: waiting loses nothing, trying by policy would empty the queue into dead letters in 35 s. */
export const unauthorizedDelayMs = 60_000;

/** How long to wait for a provider that said "not now". */
export function deferralMs(retryAfterMs: number | undefined): number {
  return Math.min(maxDeferralMs, Math.max(minDeferralMs, retryAfterMs ?? defaultDeferralMs));
}

/** What a send that was certainly not made means for the job. */
export function failureOf(context: JobContext<NotificationPorts>, delivery: Exclude<Delivery, { outcome: 'sent' | 'ambiguous' }>): Error {
  switch (delivery.outcome) {
    case 'refused':
      return new PermanentFailure(delivery.code, delivery.detail);
    case 'deferred':
      return new RetryLater(delivery.code, deferralMs(delivery.retryAfterMs), delivery.detail);
    case 'unavailable':
      return new ProviderUnavailable(delivery.detail);
    case 'unauthorized':
      context.log.error('the provider refuses our credentials: mend them, the jobs wait', { detail: delivery.detail });
      return new RetryLater(delivery.about === 'platform' ? 'platform_unauthorized' : 'channel_unauthorized', unauthorizedDelayMs, delivery.detail);
    case 'unconfigured':
      return new PermanentFailure('channel_not_configured', delivery.detail);
  }
}

/** Another try holds the claim: come back when its lease ends. */
export function busy(leaseUntil: Date): RetryLater {
  const delayMs = Math.min(leaseMs, Math.max(minDeferralMs, leaseUntil.getTime() - Date.now() + 250));
  return new RetryLater('delivery_busy', delayMs, `another try claimed this send until ${leaseUntil.toISOString()}`);
}

/** The end of a message of which nobody can say whether it was sent. */
export function unknownDelivery(detail: string): PermanentFailure {
  return new PermanentFailure('delivery_unknown', `whether the message was sent cannot be known, and it must not be sent again: ${detail}`);
}
