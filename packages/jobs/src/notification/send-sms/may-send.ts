import { type JobContext, type Outcome, RetryLater, skipped } from '@backhaul/queue/job';
import type { NotificationPorts } from '../ports.ts';
import type { SmsClass } from '../sms-ports.ts';

/** What decides about a text message at the moment of sending. */
export interface TextFacts {
  /** E.164. */
  readonly to: string;
  readonly class: SmsClass;
  readonly expiresAt?: Date | undefined;
  readonly expiresInMs?: number | undefined;
}

/** A code that comes later than this confuses more than it helps: the person has asked for another one. */
const codeLifetimeMs = 5 * 60_000;

/** The longest wait for a number's limit, and how long its sends are counted. */
const limitWindowMs = 3_600_000;

/** A code that somebody types in: short-lived, urgent, and nobody else's business. */
export function isCode(textClass: SmsClass | undefined): boolean {
  return textClass === 'otp' || textClass === 'two_factor';
}

/**
 * Asked after the send was claimed and right before it is made, so that a
 * message which had waited is judged by the time at which it would arrive.
 *
 * @returns why it is not sent, or undefined
 * @throws {RetryLater} when the number has had enough for now; a code does not wait, it would be stale
 */
export async function mayNotSend(context: JobContext<NotificationPorts>, facts: TextFacts): Promise<Outcome | undefined> {
  const { smsGuard, smsPolicy } = context.ports;
  const expiresAt = await expiry(context, facts);
  if (expiresAt !== undefined && expiresAt <= Date.now()) return skipped('expired', `it was of use until ${new Date(expiresAt).toISOString()}`);
  if (await smsGuard.isOptedOut(facts.to)) return skipped('opted_out', 'the person asked not to be texted');
  const limit = smsPolicy.perHour[facts.class];
  const { allowed, retryAfterMs } = await smsGuard.take(facts.to, { class: facts.class, messageId: context.messageId, limit, windowMs: limitWindowMs });
  if (allowed) return undefined;
  const detail = `the number had ${limit} messages of the class ${facts.class} within an hour`;
  if (isCode(facts.class)) return skipped('rate_limited', detail);
  throw new RetryLater('rate_limited', Math.min(limitWindowMs, Math.max(1_000, retryAfterMs)), detail);
}

async function expiry(context: JobContext<NotificationPorts>, facts: TextFacts): Promise<number | undefined> {
  if (facts.expiresAt !== undefined) return facts.expiresAt.getTime();
  const lifetimeMs = facts.expiresInMs ?? (isCode(facts.class) ? codeLifetimeMs : undefined);
  if (lifetimeMs === undefined) return undefined;
  const receivedAt = await context.ports.smsGuard.receivedAt(context.messageId);
  return receivedAt === undefined ? undefined : receivedAt.getTime() + lifetimeMs;
}
