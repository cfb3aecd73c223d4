import type { CountryCode } from 'libphonenumber-js/max';
import type { Delivery } from './delivery.ts';

/** A text message. */
export interface TextMessage {
  /** E.164, with the plus sign. */
  readonly to: string;
  readonly body: string;
  /** Comes back with what the provider reports about it, where it does. 32 characters of [0-9a-f], the same for every try of a send. */
  readonly reference: string;
}

/** Sends text messages. Providers offer no idempotency key: an implementation makes one request and never repeats it. */
export interface SmsSender {
  send(message: TextMessage, signal: AbortSignal): Promise<Delivery>;
  /** Asks the provider for its messages with this number and text, made at about `claimedAt`. Changes nothing; does not throw. */
  list(message: TextMessage, claimedAt: Date, signal: AbortSignal): Promise<SmsList>;
}

/** A message in WhatsApp, made from a template that WhatsApp has approved. */
export interface WhatsAppMessage {
  /** E.164, with the plus sign. */
  readonly to: string;
  /** The template, as the provider calls it. */
  readonly contentSid: string;
  /** One line each, none empty. */
  readonly variables: Readonly<Record<string, string>>;
  /** As that of a text message. */
  readonly reference: string;
}

/** Sends messages in WhatsApp; one request, never repeated. */
export interface WhatsAppSender {
  send(message: WhatsAppMessage, signal: AbortSignal): Promise<Delivery>;
}

/** Messages that a provider shows, oldest first. */
export type SmsList =
  | { readonly outcome: 'listed'; readonly messages: readonly { readonly providerId: string; readonly status: string; readonly undelivered: boolean }[] }
  | { readonly outcome: 'unreadable'; readonly detail: string };

/** What the provider reported by itself about the message of one send. */
export interface SmsReport {
  readonly providerId: string;
  /** In the provider's words. */
  readonly status: string;
  readonly errorCode: number | null;
  /** It reached the phone, or was read there. */
  readonly arrived: boolean;
  /** It ended without arriving. */
  readonly undelivered: boolean;
}

/** The provider's reports, as far as they came: none when it cannot reach us. */
export interface SmsReports {
  ofSend(reference: string): Promise<SmsReport | undefined>;
}

/** What a text message is for. */
export type SmsClass = 'otp' | 'two_factor' | 'alert' | 'general';

/** What is decided by settings about text messages. */
export interface SmsPolicy {
  /** Whose numbers may be written without a plus sign; nobody's if not given. */
  readonly defaultCountry?: CountryCode | undefined;
  /** A longer text is refused: each segment is charged for. */
  readonly maxSegments: number;
  /** Messages that one number gets within any hour, by class. */
  readonly perHour: Readonly<Record<SmsClass, number>>;
  /** How long a message that WhatsApp took may still be reported as undelivered, and a text be sent instead; 0 when nobody reports. */
  readonly whatsAppWaitMs: number;
}

/** Who must not be texted, and how often the others may be. */
export interface SmsGuard {
  isOptedOut(number: string): Promise<boolean>;
  /** For good: only the person can take it back. */
  optOut(number: string): Promise<void>;
  /** Counts a send unless the number had `limit` within the window. The same message counts once however often it asks. */
  take(number: string, options: { class: SmsClass; messageId: string; limit: number; windowMs: number }): Promise<{ allowed: boolean; retryAfterMs: number }>;
  /** Those of the provider's ids that belong to sends which were claimed at about `claimedAt` and are confirmed. */
  confirmedAmong(providerIds: readonly string[], claimedAt: Date): Promise<ReadonlySet<string>>;
  /** When the message was accepted; undefined when there is no record of it. */
  receivedAt(messageId: string): Promise<Date | undefined>;
}
