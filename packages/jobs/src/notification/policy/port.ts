import type { NotificationCategory } from '@backhaul/events';
import type { CoalesceSettings } from './coalesce.ts';
import type { QuietWindow } from './quiet-hours.ts';

/** A way to reach people. */
export type Channel = 'push' | 'email' | 'sms';

/** One notification about which something is to be decided. */
export interface PolicyRequest {
  readonly messageId: string;
  readonly userId: string;
  readonly channel: Channel;
  readonly category?: NotificationCategory | undefined;
  readonly chatId?: string | undefined;
  readonly chatMessageId?: string | undefined;
  readonly senderId?: string | undefined;
  readonly receivedAt?: Date | undefined;
}

/** What is on record about it; the shape of `PolicyFacts` in @backhaul/database. */
export interface PolicyFacts {
  readonly receivedAt: Date | null;
  readonly withdrawn: boolean;
  readonly enabled: boolean | null;
  readonly senderBlocked: boolean;
  readonly leftChat: boolean;
  readonly messageDeleted: boolean;
  readonly readUpTo: Date | null;
  readonly muted: boolean;
  readonly mutedUntil: Date | null;
  readonly mutedExceptMentions: boolean | null;
  readonly active: boolean;
  readonly quietWindows: readonly QuietWindow[];
}

/** Whose messages of which chat are gathered; `target` is a digest of the one device, or '' for all of the user's. */
export interface CoalescingKey {
  readonly userId: string;
  readonly chatId: string;
  readonly target: string;
}

/** How a message was announced: by itself or by the summary that it carries (`summaryId` is its own id), or in another's. */
export interface Announced {
  readonly summaryId: string;
  readonly count: number;
}

/** What decisions are made from; `createPolicyFacts`, `createPolicyState` and `createCoalescing` of @backhaul/database fit. */
export interface PolicyPort {
  /** The answers are in the order of the questions. */
  facts(requests: readonly PolicyRequest[]): Promise<readonly PolicyFacts[]>;
  /** Changes what counts towards a cap and returns the answer; changes of the same take turns. `now` is the same clock for all. */
  change<State, Answer>(
    key: { readonly userId: string; readonly channel: string },
    change: (state: State | undefined, now: number) => { readonly state: State; readonly answer: Answer },
  ): Promise<Answer>;
  /** Gathers messages; each is announced once. */
  readonly coalescing: {
    find(key: CoalescingKey, messageId: string): Promise<Announced | undefined>;
    /** Changes what is gathered, unless the message has been announced: then tells how. `announced` are those whose end this is, by `messageId`. */
    change<State, Answer>(
      key: CoalescingKey,
      messageId: string,
      change: (state: State | undefined, now: number) => { readonly state: State; readonly answer: Answer; readonly announced?: readonly string[] },
    ): Promise<{ readonly known: Announced } | { readonly answer: Answer }>;
  };
  readonly settings: PolicySettings;
  /** Counts decisions; one if not said. */
  decided?(channel: Channel, rule: string, count?: number): void;
}

/** What is decided by settings about all notifications. */
export interface PolicySettings {
  /** What one user gets on a channel within any hour; as many as come where not given. Urgent ones are not counted. */
  readonly perHour: Readonly<Partial<Record<Channel, number | undefined>>>;
  /** A mail about a message waits this long for the message to be read. */
  readonly mailWaitMs: number;
  /** How pushes of the category message are gathered; each is sent by itself if not given. */
  readonly coalesce?: CoalesceSettings | undefined;
}
