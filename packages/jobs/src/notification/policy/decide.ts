import type { NotificationCategory } from '@backhaul/events';
import { categoryRules } from './category.ts';
import { type QuietWindow, quietAt } from './quiet-hours.ts';

/** Everything that a decision is made from, at one moment. Times are milliseconds since the epoch. */
export interface Facts {
  readonly channel: 'push' | 'email' | 'sms';
  /** Undefined: an event that does not say. */
  readonly category: NotificationCategory | undefined;
  readonly urgent: boolean;
  /** When what it is about happened. */
  readonly sentAt: number;
  readonly expiresAt: number | undefined;
  /** This message, its chat, or everything that waited for the user was taken back. */
  readonly withdrawn: boolean;
  /** What the user chose for the channel and category, else for the channel; undefined: nothing. */
  readonly enabled: boolean | undefined;
  readonly senderBlocked: boolean;
  readonly leftChat: boolean;
  readonly messageDeleted: boolean;
  /** Up to when the user has read the chat. */
  readonly readUpTo: number | undefined;
  /** The chat's mute; `until` null: for good. */
  readonly mute: { readonly until: number | null; readonly exceptMentions: boolean } | undefined;
  readonly activeElsewhere: boolean;
  readonly quietWindows: readonly QuietWindow[];
  /** A mail about a message waits this long for the message to be read. */
  readonly mailWaitMs: number;
}

/** Why something is not sent, or not now; stable words that are stored, counted and shown. In the order in which they are asked. */
export const policyRules = [
  'withdrawn',
  'preference_off',
  'blocked',
  'left_chat',
  'message_deleted',
  'already_read',
  'too_old',
  'chat_muted',
  'active_elsewhere',
  'unread_wait',
  'quiet_hours',
] as const;

/** One of those, or what is found out after them, where counting is needed. */
export type PolicyRule = (typeof policyRules)[number] | 'cap_reached' | 'coalesced';

/** Whether, when and why. */
export type Decision =
  | { readonly action: 'send'; readonly rule: 'sent' | 'urgent_override' | 'coalesced_summary' }
  | { readonly action: 'suppress'; readonly rule: PolicyRule; readonly detail: string }
  | { readonly action: 'delay'; readonly rule: PolicyRule; readonly until: number; readonly detail: string };

/** What one rule finds: nothing, a reason not to send, or a reason to wait. */
type Finding = { readonly detail: string; readonly until?: number | undefined } | undefined;

interface Rule {
  readonly finds: (facts: Facts, now: number) => Finding;
  /** An urgent notification goes through it. */
  readonly overridable?: true;
}

const rules: Readonly<Record<(typeof policyRules)[number], Rule>> = {
  withdrawn: { finds: ({ withdrawn }) => found(withdrawn, 'it was taken back') },
  preference_off: { finds: ({ enabled, channel }) => found(enabled === false, `the user turned such notifications off for ${channel}`) },
  blocked: { finds: ({ senderBlocked }) => found(senderBlocked, 'the user blocked the sender') },
  left_chat: { finds: ({ leftChat }) => found(leftChat, 'the user left the chat') },
  message_deleted: { finds: ({ messageDeleted }) => found(messageDeleted, 'the message was deleted') },
  already_read: { finds: ({ readUpTo, sentAt }) => found(readUpTo !== undefined && sentAt <= readUpTo, 'the user has read it') },
  too_old: { finds: (facts, now) => found(now >= staleAt(facts), `it was of use until ${iso(staleAt(facts))}`) },
  chat_muted: {
    overridable: true,
    finds: ({ mute, category }, now) =>
      found(
        mute !== undefined && (mute.until === null || now < mute.until) && !(mute.exceptMentions && category === 'mention'),
        `the user muted the chat ${mute?.until == null ? 'for good' : `until ${iso(mute.until)}`}`,
      ),
  },
  active_elsewhere: {
    overridable: true,
    finds: ({ activeElsewhere, category }) =>
      found(activeElsewhere && category !== undefined && categoryRules[category].seenInApp, 'the user has the app open on another device'),
  },
  unread_wait: {
    overridable: true,
    finds({ channel, category, sentAt, mailWaitMs }, now) {
      const until = sentAt + mailWaitMs;
      if (channel !== 'email' || (category !== 'message' && category !== 'mention') || now >= until) return undefined;
      return { detail: 'it is mailed if it is still unread then', until };
    },
  },
  quiet_hours: {
    overridable: true,
    finds({ quietWindows }, now) {
      const quiet = quietAt(quietWindows, now);
      return quiet === undefined ? undefined : { detail: 'these are the quiet hours of the user', until: quiet.until };
    },
  },
};

/**
 * Decides about one notification. The first rule that finds something decides;
 * the table in docs/notifications.md has them in order. Says nothing but what
 * follows from `facts` and `now`: asked again, it answers the same.
 */
export function decide(facts: Facts, now: number): Decision {
  let overridden = false;
  for (const rule of policyRules) {
    const { finds, overridable } = rules[rule];
    const finding = finds(facts, now);
    if (finding === undefined) continue;
    if (overridable === true && facts.urgent) overridden = true;
    else return settle(rule, finding, facts);
  }
  return { action: 'send', rule: overridden ? 'urgent_override' : 'sent' };
}

function settle(rule: PolicyRule, { detail, until }: NonNullable<Finding>, facts: Facts): Decision {
  return until === undefined ? { action: 'suppress', rule, detail } : whenStale(facts, { action: 'delay', rule, until, detail });
}

/** What waits past its use is better not sent at all, and said so now. */
export function whenStale(facts: Facts, delay: Extract<Decision, { action: 'delay' }>): Decision {
  if (delay.until < staleAt(facts)) return delay;
  return { action: 'suppress', rule: delay.rule, detail: `${delay.detail}, and by ${iso(delay.until)} it will be of no use` };
}

/** From when on it is of no use; Infinity: always of use. */
function staleAt({ category, sentAt, expiresAt }: Facts): number {
  return Math.min(expiresAt ?? Infinity, sentAt + (category === undefined ? Infinity : (categoryRules[category].freshMs ?? Infinity)));
}

function found(holds: boolean, detail: string): Finding {
  return holds ? { detail } : undefined;
}

function iso(instant: number): string {
  return Number.isFinite(instant) ? new Date(instant).toISOString() : 'any time';
}
