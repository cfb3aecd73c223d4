import type { NotificationCategory } from '@backhaul/events';
import { isUrgent } from './category.ts';
import type { Facts } from './decide.ts';
import type { Channel, PolicyFacts, PolicyPort } from './port.ts';
import { isTimeZone } from './quiet-hours.ts';

/** The fields of an event that a decision is made from. */
export interface EventFacts {
  readonly category?: NotificationCategory | undefined;
  readonly urgent?: boolean | undefined;
  readonly class?: string | undefined;
  readonly chatId?: string | undefined;
  readonly chatMessageId?: string | undefined;
  readonly senderId?: string | undefined;
  readonly sentAt?: string | undefined;
  readonly expiresAt?: string | undefined;
}

/** Puts together what is on record and what the event says. */
export function factsOf(onRecord: PolicyFacts, channel: Channel, judged: EventFacts, { settings }: PolicyPort, now: number): Facts {
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
