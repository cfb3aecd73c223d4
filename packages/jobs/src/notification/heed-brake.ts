import { type BatchContext, type JobContext, RetryLater } from '@backhaul/queue/job';
import { deferralMs, unauthorizedDelayMs } from './failures.ts';
import type { Channel } from './policy/port.ts';
import type { Delivery, NotificationPorts } from './ports.ts';

/** The longest that jobs are spread over when a hold ends; at once they would be the next burst that is refused. */
const maxSpreadMs = 30_000;

/** @throws {RetryLater} `channel_held`, for about as long as the channel is; uses up no try */
export async function waitForBrake({ ports }: JobContext<NotificationPorts>, channel: Channel): Promise<void> {
  const hold = await ports.brake.held(channel);
  if (hold === undefined) return;
  const spreadMs = Math.random() * Math.min(maxSpreadMs, Math.max(1_000, hold.forMs / 4));
  throw new RetryLater('channel_held', hold.forMs + spreadMs, `nothing is sent by ${channel} for ${Math.ceil(hold.forMs / 1_000)} s: ${hold.reason}`);
}

/**
 * Holds the channel when the answer was about all of it. An expired APNs key
 * stops no Android device.
 *
 * A rate limit holds pushes only: of mail it is one mailbox's or one relay's
 * greylisting, of text messages it is over within a second.
 */
export async function heedAnswer({ ports }: BatchContext<NotificationPorts>, channel: Channel, delivery: Delivery): Promise<void> {
  if (delivery.outcome === 'unauthorized' && delivery.about === undefined) await ports.brake.hold(channel, unauthorizedDelayMs, 'channel_unauthorized');
  else if (channel === 'push' && delivery.outcome === 'deferred' && delivery.code === 'rate_limited')
    await ports.brake.hold(channel, deferralMs(delivery.retryAfterMs), 'rate_limited');
}
