import { type JobContext, type Outcome, RetryLater, skipped } from '@backhaul/queue/job';
import type { NotificationPorts } from '../ports.ts';

/**
 * Asked after the send was claimed and right before it is made.
 *
 * @returns why it is not sent, or undefined
 * @throws {RetryLater} when the mails before it have used up the dispatch limit; an urgent one does not wait
 */
export async function mayNotSend(context: JobContext<NotificationPorts>, { to, urgent }: { to: string; urgent: boolean }): Promise<Outcome | undefined> {
  const { mailGuard, mailPolicy } = context.ports;
  if (await mailGuard.isSuppressed(to)) return skipped('suppressed', 'the address takes no mail, or its owner wants none: see the suppression list');
  const { perMinute } = mailPolicy;
  if (perMinute === 0) return undefined;
  const { allowed, retryAfterMs } = await mailGuard.take(context.messageId, { perMinute, waits: !urgent });
  if (allowed) return undefined;
  throw new RetryLater('dispatch_limit', retryAfterMs, `${perMinute} mails leave within a minute, and others are before it`);
}
