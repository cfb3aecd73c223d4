import type { NotificationCategory } from '@backhaul/events';
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

/** Where a state of the policy belongs. */
export type PolicyStateKey =
  | { readonly table: 'notification_caps'; readonly userId: string; readonly channel: string }
  | { readonly table: 'coalesced'; readonly userId: string; readonly chatId: string; readonly target: string };

/** What decisions are made from; `createPolicyFacts` and `createPolicyState` of @backhaul/database fit. */
export interface PolicyPort {
  /** The answers are in the order of the questions. */
  facts(requests: readonly PolicyRequest[]): Promise<readonly PolicyFacts[]>;
  /** Changes a state and returns the answer; changes of the same state take turns. `now` is the same clock for all. */
  change<State, Answer>(
    key: PolicyStateKey,
    change: (state: State | undefined, now: number) => { readonly state: State; readonly answer: Answer },
  ): Promise<Answer>;
  readonly settings: PolicySettings;
}

/** What is decided by settings about all notifications. */
export interface PolicySettings {
  /** What one user gets on a channel within any hour; as many as come where not given. Urgent ones are not counted. */
  readonly perHour: Readonly<Partial<Record<Channel, number | undefined>>>;
  /** A mail about a message waits this long for the message to be read. */
  readonly mailWaitMs: number;
}
