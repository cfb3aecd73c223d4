import { type JobContext, type Outcome, RetryLater, skipped } from '@backhaul/queue/job';
import type { NotificationPorts } from '../ports.ts';
import { type About, announce, coalescingKey } from './announce.ts';
import { type Taken, take } from './cap.ts';
import type { Gathered } from './coalesce.ts';
import { type Decision, type Facts, decide, whenStale } from './decide.ts';
import { type EventFacts, factsOf } from './facts.ts';
import { isUrgent } from './category.ts';
import type { Channel, PolicyFacts, PolicyPort, PolicyRequest } from './port.ts';
import { type Wording, summaryWording } from './wording.ts';

/** The fields of an event that it is judged by. */
export interface Judged extends EventFacts {
  readonly title: string;
  readonly chatName?: string | undefined;
  readonly locale?: string | undefined;
  readonly fcmToken?: string | undefined;
  readonly push?: { readonly dataOnly?: boolean | undefined } | undefined;
}

const hourMs = 3_600_000;
/** No wait is shorter: a run that comes a moment too early asks again soon enough. */
const minDelayMs = 100;

/** The rule by which a notification may be sent, and for how many messages it stands, kept with its job; nothing where there is no policy. */
export interface Allowed {
  readonly rule?: string;
  readonly messages?: number;
}

/** A notification, and all the users that are asked about: what is on record of them is read at once, when the first is asked about. */
interface Questions {
  readonly channel: Channel;
  readonly notification: Judged;
  readonly userIds: readonly string[];
}

/** Answers for each user of a notification. */
export interface Judge {
  /** Asked at the moment of sending. An outcome means that it is not sent; a wait is thrown as PolicyWait. */
  ask(userId: string): Promise<Outcome | Allowed>;
  /** What it says instead, if it stands for other messages as well; on a device of theirs, by what is known of that. Does not throw. */
  wording(userId: string, device?: { readonly locale?: string | undefined }): Promise<Wording | undefined>;
}

/** Judges a notification for each of its users. The answers are kept: a user with several devices is asked about, and counted, once. */
export function judge(context: JobContext<NotificationPorts>, questions: Questions): Judge {
  const { policy } = context.ports;
  if (policy === undefined) return { ask: async () => ({}), wording: async () => undefined };
  const { channel, notification, userIds } = questions;
  const { category, chatId, chatMessageId, senderId, sentAt, expiresAt } = notification;
  const { messageId, receivedAt } = context;
  const settings = gathers(channel, notification) ? policy.settings.coalesce : undefined;
  const keyOf = (userId: string) => coalescingKey(userId, chatId ?? '', notification.fcmToken);
  const answers = new Map<string, Promise<Outcome | Allowed>>();
  const counts = new Map<string, number>();
  let onRecord: Promise<ReadonlyMap<string, PolicyFacts>> | undefined;

  const read = async () => {
    const rows = await policy.facts(userIds.map((userId) => requestOf({ messageId, userId, receivedAt, notification }, channel)));
    return new Map(rows.map((row, index) => [userIds[index] ?? '', row]));
  };

  /** Of other messages of the chat, those of which the user need not be told any more. */
  const voided = async (userId: string, others: readonly Gathered<About>[]) => {
    const rows = await policy.facts(others.map(({ id, about }) => ({ ...about, messageId: id, userId, channel, category, chatId })));
    const now = Date.now();
    return new Set(
      others.flatMap(({ id, about }, index) => {
        const row = rows[index];
        return row !== undefined && decide(factsOf(row, channel, { ...about, category }, policy, now), now).action === 'suppress' ? [id] : [];
      }),
    );
  };

  async function answer(userId: string): Promise<Outcome | Allowed> {
    onRecord ??= read();
    const row = (await onRecord).get(userId);
    if (policy === undefined || row === undefined) throw new Error('the policy has no facts about a notification');
    const now = Date.now();
    const facts = factsOf(row, channel, notification, policy, now);
    let decision = decide(facts, now);
    if (decision.action !== 'send' || facts.urgent) return settled(decision);
    if (settings !== undefined) {
      const about = { chatMessageId, senderId, sentAt, expiresAt };
      const announced = await announce(policy, { key: keyOf(userId), messageId, about, settings, voided: (others) => voided(userId, others) });
      if (announced.as === 'gathered')
        throw new PolicyWait('coalesced', Math.max(minDelayMs, announced.waitMs), 'it is gathered with other messages of its chat');
      if (announced.as === 'counted') return skipped('coalesced', `one of ${announced.count} messages that ${announced.summaryId} announces`);
      counts.set(userId, announced.count);
      if (announced.count > 1) decision = { action: 'send', rule: 'coalesced_summary' };
    }
    const count = counts.get(userId) ?? 1;
    return { ...settled(await underCap(policy, { messageId, userId, facts, decision })), ...(count > 1 ? { messages: count } : {}) };
  }

  async function counted(answered: Promise<Outcome | Allowed>): Promise<Outcome | Allowed> {
    try {
      const found = await answered;
      policy?.decided?.(channel, 'status' in found ? (found.status === 'skipped' ? found.reason : found.status) : (found.rule ?? 'sent'));
      return found;
    } catch (error) {
      if (error instanceof PolicyWait) policy?.decided?.(channel, error.code);
      throw error;
    }
  }

  return {
    ask(userId) {
      let known = answers.get(userId);
      if (known === undefined) {
        known = counted(answer(userId));
        answers.set(userId, known);
      }
      return known;
    },
    async wording(userId, device) {
      if (settings === undefined) return undefined;
      // A send that is repeated after a crash was asked about by an earlier run: it says what that said, or what the event says if that cannot be read.
      const count = counts.get(userId) ?? (await policy.coalescing.find(keyOf(userId), messageId).catch(() => undefined))?.count ?? 1;
      if (count === 1) return undefined;
      return summaryWording({ chat: notification.chatName ?? notification.title, count, deviceLocale: device?.locale, locale: notification.locale });
    },
  };
}

/** Whether what is on record about the user is all that decides about it: nothing is gathered or counted. */
export function isDecidedByRecord({ settings }: PolicyPort, channel: Channel, notification: Judged): boolean {
  if (isUrgent(notification)) return true;
  return settings.perHour[channel] === undefined && !(settings.coalesce !== undefined && gathers(channel, notification));
}

/** A notification to one person, among many. */
export interface Asked {
  readonly messageId: string;
  readonly userId: string;
  readonly receivedAt?: Date | undefined;
  readonly notification: Judged;
}

/**
 * Judges many notifications of which the record decides. Undefined for one
 * that is not sent, or not now: it is to be asked about by itself.
 */
export async function judgeAll(policy: PolicyPort | undefined, channel: Channel, asked: readonly Asked[]): Promise<readonly (Allowed | undefined)[]> {
  if (policy === undefined) return asked.map(() => ({}));
  const rows = await policy.facts(asked.map((each) => requestOf(each, channel)));
  const now = Date.now();
  const counts = new Map<Decision['rule'], number>();
  const judged = asked.map(({ notification }, index) => {
    const row = rows[index];
    const decision = row === undefined ? undefined : decide(factsOf(row, channel, notification, policy, now), now);
    if (decision?.action !== 'send') return undefined;
    counts.set(decision.rule, (counts.get(decision.rule) ?? 0) + 1);
    return { rule: decision.rule };
  });
  for (const [rule, count] of counts) policy.decided?.(channel, rule, count);
  return judged;
}

function requestOf({ messageId, userId, receivedAt, notification }: Asked, channel: Channel): PolicyRequest {
  const { category, chatId, chatMessageId, senderId } = notification;
  return { messageId, userId, channel, category, chatId, chatMessageId, senderId, receivedAt };
}

/** Pushes about messages of a chat, unless they show nothing: what the app makes of those is its own. */
function gathers(channel: Channel, { category, chatId, push }: Judged): boolean {
  return channel === 'push' && category === 'message' && chatId !== undefined && push?.dataOnly !== true;
}

/** Counts it towards the user's cap, if there is one. */
async function underCap(
  policy: PolicyPort,
  { messageId, userId, facts, decision }: { messageId: string; userId: string; facts: Facts; decision: Decision },
): Promise<Decision> {
  const { channel } = facts;
  const limit = policy.settings.perHour[channel];
  if (limit === undefined) return decision;
  const until = await policy.change<readonly Taken[], number | undefined>({ userId, channel }, (taken, at) => {
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
