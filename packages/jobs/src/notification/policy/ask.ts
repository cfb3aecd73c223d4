import type { NotificationCategory } from '@backhaul/events';
import { type JobContext, type Outcome, RetryLater, skipped } from '@backhaul/queue/job';
import type { NotificationPorts } from '../ports.ts';
import { type Taken, take } from './cap.ts';
import { isUrgent } from './category.ts';
import { type Decision, type Facts, decide, whenStale } from './decide.ts';
import type { Channel, PolicyFacts, PolicyPort } from './port.ts';
import { isTimeZone } from './quiet-hours.ts';

/** The fields of an event that a decision is made from. */
export interface Judged {
  readonly category?: NotificationCategory | undefined;
  readonly urgent?: boolean | undefined;
  readonly class?: string | undefined;
  readonly chatId?: string | undefined;
  readonly chatMessageId?: string | undefined;
  readonly senderId?: string | undefined;
  readonly sentAt?: string | undefined;
  readonly expiresAt?: string | undefined;
}

const hourMs = 3_600_000;
/** No wait is shorter: the clocks of two machines may differ by as much. */
const minDelayMs = 1_000;

/** The rule by which a notification may be sent, kept with its job; nothing where there is no policy. */
export interface Allowed {
  readonly rule?: string;
}

/** A notification, and all the users that are asked about: what is on record of them is read at once, when the first is asked about. */
interface Questions {
  readonly channel: Channel;
  readonly notification: Judged;
  readonly userIds: readonly string[];
}

/**
 * Judges a notification for each of its users, at the moment of sending. The
 * answer is kept: a user with several devices is asked about, and counted,
 * once. An outcome means that it is not sent; a wait is thrown as RetryLater.
 */
export function judge(context: JobContext<NotificationPorts>, questions: Questions): (userId: string) => Promise<Outcome | Allowed> {
  const { policy } = context.ports;
  if (policy === undefined) return async () => ({});
  const { channel, notification, userIds } = questions;
  const { category, chatId, chatMessageId, senderId } = notification;
  let onRecord: Promise<ReadonlyMap<string, PolicyFacts>> | undefined;
  const answers = new Map<string, Promise<Outcome | Allowed>>();
  const read = async () => {
    const rows = await policy.facts(userIds.map((userId) => ({ messageId: context.messageId, userId, channel, category, chatId, chatMessageId, senderId })));
    return new Map(rows.map((row, index) => [userIds[index] ?? '', row]));
  };
  const answer = async (userId: string) => {
    onRecord ??= read();
    const row = (await onRecord).get(userId);
    if (row === undefined) throw new Error('the policy has no facts about a notification');
    const now = Date.now();
    const facts = factsOf(row, channel, notification, policy, now);
    const first = decide(facts, now);
    return settled(first.action === 'send' && !facts.urgent ? await underCap(policy, { messageId: context.messageId, userId, facts, decision: first }) : first);
  };
  return (userId) => {
    const known = answers.get(userId) ?? answer(userId);
    answers.set(userId, known);
    return known;
  };
}

/** Counts it towards the user's cap, if there is one. */
async function underCap(
  policy: PolicyPort,
  { messageId, userId, facts, decision }: { messageId: string; userId: string; facts: Facts; decision: Decision },
): Promise<Decision> {
  const { channel } = facts;
  const limit = policy.settings.perHour[channel];
  if (limit === undefined) return decision;
  const until = await policy.change<readonly Taken[], number | undefined>({ table: 'notification_caps', userId, channel }, (taken, at) => {
    const after = take(taken ?? [], messageId, { limit, windowMs: hourMs }, at);
    return { state: after.taken, answer: after.until };
  });
  if (until === undefined) return decision;
  return whenStale(facts, { action: 'delay', rule: 'cap_reached', until, detail: `the user had ${limit} of ${channel} within an hour` });
}

/** What a decision means for the job. */
function settled(decision: Decision): Outcome | Allowed {
  switch (decision.action) {
    case 'send':
      return { rule: decision.rule };
    case 'suppress':
      return skipped(decision.rule, decision.detail);
    case 'delay':
      throw new PolicyWait(decision.rule, Math.max(minDelayMs, decision.until - Date.now()), decision.detail);
  }
}

/** A rule has this user wait. Told apart from a provider's wish: nobody else needs to wait with them. */
export class PolicyWait extends RetryLater {}

function factsOf(onRecord: PolicyFacts, channel: Channel, judged: Judged, { settings }: PolicyPort, now: number): Facts {
  const receivedAt = onRecord.receivedAt?.getTime() ?? now;
  return {
    channel,
    category: judged.category,
    urgent: isUrgent(judged),
    // A clock that runs ahead must not keep anything from being read or too old.
    sentAt: Math.min(receivedAt, judged.sentAt === undefined ? Infinity : Date.parse(judged.sentAt)),
    // Of a text message it is asked where its other limits are.
    expiresAt: judged.expiresAt === undefined || channel === 'sms' ? undefined : Date.parse(judged.expiresAt),
    withdrawn: onRecord.withdrawn,
    enabled: onRecord.enabled ?? undefined,
    senderBlocked: onRecord.senderBlocked,
    leftChat: onRecord.leftChat,
    messageDeleted: onRecord.messageDeleted,
    readUpTo: onRecord.readUpTo?.getTime(),
    mute: onRecord.muted ? { until: onRecord.mutedUntil?.getTime() ?? null, exceptMentions: onRecord.mutedExceptMentions ?? false } : undefined,
    activeElsewhere: onRecord.active,
    // Stored by a process whose runtime knew more zones: better an hour off than never sent.
    quietWindows: onRecord.quietWindows.map((window) => (isTimeZone(window.timeZone) ? window : { ...window, timeZone: 'UTC' })),
    mailWaitMs: settings.mailWaitMs,
  };
}
