import type { ChannelBrake } from './channel-brake.ts';
import type { Delivery } from './delivery.ts';
import type { MailGuard, MailPolicy, Mailer } from './mail-ports.ts';
import type { PolicyPort } from './policy/port.ts';
import type { PushDevices } from './send-push/devices.ts';
import type { SmsGuard, SmsPolicy, SmsReports, SmsSender, WhatsAppSender } from './sms-ports.ts';
import type { MailBrands } from './templates/index.ts';
import type { Withdrawals } from './withdraw/withdrawals.ts';

export type { Delivery } from './delivery.ts';

/** How a push looks and behaves; what each field means is said in the event. */
export interface PushOptions {
  readonly priority?: 'high' | 'normal' | undefined;
  readonly channelId?: string | undefined;
  readonly badge?: number | undefined;
  readonly sound?: string | undefined;
  readonly mutableContent?: boolean | undefined;
  readonly ttlSeconds?: number | undefined;
  readonly dataOnly?: boolean | undefined;
  readonly link?: string | undefined;
  readonly image?: string | undefined;
}

/** A push to one device. */
export interface PushMessage {
  readonly token: string;
  readonly title: string;
  readonly body: string;
  /** Given to the app with the push. */
  readonly data: Readonly<Record<string, string>>;
  /** Two pushes with the same key show as one on the device. At most 32 characters of [0-9a-f]. */
  readonly collapseKey: string;
  readonly options?: PushOptions | undefined;
}

/** Sends pushes. */
export interface PushSender {
  /** @param signal aborts the request; an abort after the request went out is `ambiguous` */
  send(message: PushMessage, signal: AbortSignal): Promise<Delivery>;
}

/** What a provider says when it is asked about a send of which the answer was lost. */
export type LookUp =
  /** It has the message and sends it, or has sent it. */
  | { readonly outcome: 'found'; readonly providerId: string }
  /** It took the message, and could not deliver it. */
  | { readonly outcome: 'undelivered'; readonly providerId: string; readonly detail: string }
  /** It took the message, could not deliver it, and another way to the person may be tried. */
  | { readonly outcome: 'refused'; readonly detail: string }
  /** It shows no such message. No proof that there is none: this never permits a resend. */
  | { readonly outcome: 'not_found' }
  /** It gave no usable answer; it may be asked again. */
  | { readonly outcome: 'unreadable'; readonly detail: string };

/** How one notification ended, as the chat app shows it to support staff. */
export interface NotificationRecord {
  readonly messageId: string;
  readonly channel: 'push' | 'email' | 'sms';
  readonly userId: string;
  readonly title: string;
  readonly body: string;
  /** True once sent; false when it was given up, or could not be sent at all. */
  readonly success: boolean;
}

/** The chat app's `notifications` table. */
export interface NotificationLog {
  /** Keeps one row per message id and channel however often it is called; a row that says success keeps saying so. */
  record(record: NotificationRecord): Promise<void>;
  /** The same for many messages. */
  recordAll(records: readonly NotificationRecord[]): Promise<void>;
  /** The same for a message to several people: one row each. */
  recordEach(records: readonly NotificationRecord[]): Promise<void>;
}

/** What the ledger of effects says to a claim; the shape of `EffectClaim` in @backhaul/database. */
export type EffectClaim =
  | { readonly state: 'claimed'; readonly token: string }
  | { readonly state: 'ambiguous'; readonly token: string; readonly claimedAt: Date }
  | { readonly state: 'busy'; readonly leaseUntil: Date }
  | { readonly state: 'confirmed'; readonly providerId: string | null; readonly confirmedAt: Date }
  | { readonly state: 'unknown' }
  | { readonly state: 'refused'; readonly detail: string | null };

/** The part of the effects ledger that sending needs; `Effects` of @backhaul/database fits. */
export interface EffectLedger {
  claim(key: string, options: { messageId: string; leaseMs: number }): Promise<EffectClaim>;
  /** Many at once; the answers are in their order. */
  claimAll(claims: readonly { readonly key: string; readonly messageId: string }[], options: { leaseMs: number }): Promise<readonly EffectClaim[]>;
  confirm(key: string, token: string, providerId: string | null): Promise<boolean>;
  /** Many at once; the answers are in their order. */
  confirmAll(effects: readonly { readonly key: string; readonly token: string; readonly providerId: string | null }[]): Promise<readonly boolean[]>;
  release(key: string, token: string): Promise<void>;
  giveUp(key: string, token: string, detail: string): Promise<void>;
  /** Not made, and not to be tried again in this way. False when another try took the claim over meanwhile. */
  refuse(key: string, token: string, detail: string): Promise<boolean>;
  /** What was confirmed did not reach anybody: it counts as refused from now on. */
  disprove(key: string, detail: string): Promise<void>;
  /** Every effect of one message that was claimed and not released. */
  of(messageId: string): Promise<readonly { readonly key: string; readonly state: 'claimed' | 'confirmed' | 'unknown' | 'refused' }[]>;
}

/** The effects that the notification jobs need. */
export interface NotificationPorts {
  readonly push: PushSender;
  readonly devices: PushDevices;
  readonly mailer: Mailer;
  readonly mailGuard: MailGuard;
  readonly mailPolicy: MailPolicy;
  readonly sms: SmsSender;
  readonly whatsApp: WhatsAppSender;
  readonly smsPolicy: SmsPolicy;
  readonly smsGuard: SmsGuard;
  readonly smsReports: SmsReports;
  readonly notifications: NotificationLog;
  readonly effects: EffectLedger;
  readonly brake: ChannelBrake;
  /** The looks of mails by tenant; plain ones if not given. */
  readonly brands?: MailBrands;
  readonly withdrawals: Withdrawals;
  /** Whether and when; everything is sent at once if not given. */
  readonly policy?: PolicyPort;
}
