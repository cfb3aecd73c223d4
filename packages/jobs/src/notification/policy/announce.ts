import { effectHash } from '../effect-key.ts';
import { type Gathered, type Gathering, close, offer } from './coalesce.ts';
import type { CoalesceSettings } from './coalesce.ts';
import type { Announced, CoalescingKey, PolicyPort } from './port.ts';

/** What the policy needs to ask again about a message that is gathered. */
export interface About {
  readonly chatMessageId?: string | undefined;
  readonly senderId?: string | undefined;
  readonly sentAt?: string | undefined;
  readonly expiresAt?: string | undefined;
}

/** How a message is announced, or when to ask again. */
export type Announcement =
  | { readonly as: 'own'; readonly count: number }
  | { readonly as: 'counted'; readonly summaryId: string; readonly count: number }
  | { readonly as: 'gathered'; readonly waitMs: number };

/** One message, and how it is gathered. */
interface Announcing {
  readonly key: CoalescingKey;
  readonly messageId: string;
  readonly about: About;
  readonly settings: CoalesceSettings;
  /** Of those that are gathered with it: who need not be announced any more. */
  voided(others: readonly Gathered<About>[]): Promise<ReadonlySet<string>>;
}

/** The chat of a user, for one device or for all of theirs: the app may send an event for each device. */
export function coalescingKey(userId: string, chatId: string, fcmToken: string | undefined): CoalescingKey {
  return { userId, chatId, target: fcmToken === undefined ? '' : effectHash(fcmToken) };
}

/** Gathers a message with others of its chat, or announces them. What was decided once stays so, whoever asks again. */
export async function announce({ coalescing }: PolicyPort, { key, messageId, about, settings, voided }: Announcing): Promise<Announcement> {
  const offered = await coalescing.change<Gathering<About>, ReturnType<typeof offer<About>>['answer']>(key, messageId, (state, now) => {
    const { state: after, answer } = offer(state, { id: messageId, about }, settings, now);
    return { state: after, answer, ...(answer.as === 'alone' ? { announced: [messageId] } : {}) };
  });
  if ('known' in offered) return announcementOf(messageId, offered.known);
  const { answer } = offered;
  if (answer.as === 'alone') return { as: 'own', count: 1 };
  if (answer.as === 'gathered') return answer;
  // Asked between the two changes, not within: what is read meanwhile would hold the chat's lock.
  const others = answer.pending.filter(({ id }) => id !== messageId);
  const without = others.length === 0 ? new Set<string>() : await voided(others);
  const closed = await coalescing.change<Gathering<About>, number>(key, messageId, (state, now) => {
    const { state: after, announced } = close(state ?? { lastAt: now, pending: [] }, messageId, without, now);
    return { state: after, answer: announced.length, announced };
  });
  return 'known' in closed ? announcementOf(messageId, closed.known) : { as: 'own', count: closed.answer };
}

function announcementOf(messageId: string, { summaryId, count }: Announced): Announcement {
  return summaryId === messageId ? { as: 'own', count } : { as: 'counted', summaryId, count };
}
