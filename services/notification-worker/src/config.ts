import { createPrivateKey } from 'node:crypto';
import { databaseEnv } from '@backhaul/database';
import { isSupportedCountry, notification, parseAddress } from '@backhaul/jobs/notification';
import { brandsVariable } from '@backhaul/jobs/templates';
import { concurrency, redisEnv, workerEnv } from '@backhaul/queue';
import { integer, milliseconds, port, secret, serviceEnv, text, url } from '@backhaul/runtime';
import { z } from 'zod';
import type { PgPolicySettings } from './adapters/pg-policy.ts';

/**
 * The environment of the notification worker.
 *
 * A channel is on when its variables are set, and they go together: half of a
 * channel is an error at start, none of it starts without the channel. Jobs
 * of a missing channel become dead letters `channel_not_configured`, which
 * can be replayed once the channel is there.
 */
export const notificationWorkerConfig = z
  .object({
    ...serviceEnv,
    ...redisEnv,
    ...databaseEnv,
    ...workerEnv,
    /** Bull jobs that one process works at once: envelopes of many notifications, or single ones. */
    NOTIFICATION_CONCURRENCY: concurrency(notification.concurrency),

    /** The Firebase project that pushes are sent for. */
    FIREBASE_PROJECT_ID: text().optional(),
    /** The service account that may send them. */
    FIREBASE_CLIENT_EMAIL: text().optional(),
    /** Its private key in PEM; line breaks may be written as \n. */
    FIREBASE_PRIVATE_KEY: privateKey().optional(),
    /** Another server in FCM's place, for development and tests. */
    FCM_BASE_URL: url('https').optional(),
    /** PEM file of the authority that signed that server's certificate. */
    FCM_CA_FILE: text().optional(),
    /** A token that the provider calls gone is deleted when it says so again after this time. */
    PUSH_TOKEN_PROBATION_HOURS: integer({ min: 1, max: 8_760 }).default(24),
    /** When more of a minute's answers call the token gone, none of them is believed. */
    PUSH_MAX_GONE_PERCENT: integer({ min: 1, max: 100 }).default(20),

    /** The relay that takes the mail. */
    SMTP_HOST: text().optional(),
    /** 465 speaks TLS from the start, any other port STARTTLS. */
    SMTP_PORT: port().default(587),
    SMTP_USER: text().optional(),
    SMTP_PASSWORD: secret().optional(),
    /** The sender: `someone@example.com` or `Example <someone@example.com>`. */
    SMTP_FROM: mailbox().optional(),
    /** required: encrypted with a valid certificate or not at all; opportunistic: encrypted if the relay can; off: never. */
    SMTP_TLS: z.enum(['required', 'opportunistic', 'off'], { error: 'expected required, opportunistic or off' }).default('required'),

    /** Resend's key: a second way for mails, over HTTP. The sender is SMTP_FROM. */
    RESEND_API_KEY: secret().optional(),
    /** Resend, or another server that speaks its API. */
    RESEND_BASE_URL: url('https', 'http').default('https://api.resend.com'),
    /** Who sends mails, in the order in which they are asked: smtp, resend, or both; those with settings if not given. */
    MAIL_PROVIDERS: mailProviders().optional(),
    /** So many failures in a row keep mails away from a provider .. */
    MAIL_BREAKER_FAILURES: integer({ min: 1, max: 1_000 }).default(5),
    /** .. for so long; then one mail at a time tries whether it works again. */
    MAIL_BREAKER_SECONDS: integer({ min: 1, max: 3_600 }).default(30),
    /** Mails that all workers together send within a minute; the others wait. 0: no limit. Urgent ones do not wait. */
    MAIL_PER_MINUTE: integer({ min: 0, max: 100_000 }).default(0),

    /** The looks of mails by tenant, as JSON; see docs/notifications.md. */
    MAIL_BRANDS: brandsVariable().optional(),

    /** Twilio's account SID. */
    SMS_API_KEY: text().optional(),
    /** Its auth token. */
    SMS_API_SECRET: secret().optional(),
    /** The sending number, in E.164. */
    SMS_FROM_NUMBER: phoneNumber().optional(),
    /** The provider, or another one that speaks its API. */
    SMS_BASE_URL: url('https', 'http').default('https://api.twilio.com'),
    /** The address under which the provider reaches /webhooks/twilio/ of the ops API, without that path; it reports nothing without it. */
    SMS_WEBHOOK_BASE_URL: url('https', 'http').optional(),
    /** The sending number in WhatsApp, in E.164; messages for WhatsApp go as texts without it. */
    WHATSAPP_FROM_NUMBER: phoneNumber().optional(),
    /** How long a message that WhatsApp took may be reported as undelivered and a text be sent instead; needs SMS_WEBHOOK_BASE_URL. */
    WHATSAPP_FALLBACK_MS: milliseconds({ max: 3_600_000 }).default(120_000),
    /** The country in which numbers without a plus sign are read; such numbers are refused without it. */
    SMS_DEFAULT_COUNTRY: text().refine(isSupportedCountry, 'expected a country such as DE').optional(),
    /** A longer text is refused. */
    SMS_MAX_SEGMENTS: integer({ min: 1, max: 24 }).default(10),
    /** Codes (otp, and two_factor for itself) that one number gets within any hour. */
    SMS_CODES_PER_HOUR: integer({ min: 1, max: 1_000 }).default(5),
    /** The same for alerts. */
    SMS_ALERTS_PER_HOUR: integer({ min: 1, max: 1_000 }).default(20),
    /** The same for everything else. */
    SMS_GENERAL_PER_HOUR: integer({ min: 1, max: 1_000 }).default(60),

    /** Pushes that one user gets within any hour; as many as come if not given. Calls, codes and alerts are not counted. */
    POLICY_PUSH_PER_HOUR: integer({ min: 1, max: 1_000 }).optional(),
    /** The same for mails. */
    POLICY_EMAIL_PER_HOUR: integer({ min: 1, max: 1_000 }).optional(),
    /** The same for text messages, beside the limits per number. */
    POLICY_SMS_PER_HOUR: integer({ min: 1, max: 1_000 }).optional(),
    /** A mail of the category message or mention is sent if its message is still unread after this. */
    POLICY_MISSED_MAIL_MINUTES: integer({ min: 0, max: 1_440 }).default(15),
    /** Whoever has a session in the chat app's `user_sessions` that was active within this long is at the app, and not notified of messages; 0: that table is not asked. */
    POLICY_ACTIVE_SESSION_MS: milliseconds({ min: 0, max: 3_600_000 }).default(0),
    /** Pushes of a chat that follow one another closer than this are gathered and sent as one; 0 sends each by itself. */
    POLICY_COALESCE_QUIET_MS: milliseconds({ min: 0, max: 300_000 }).default(5_000),
    /** No push is gathered for longer. */
    POLICY_COALESCE_MAX_WAIT_MS: milliseconds({ min: 1_000, max: 3_600_000 }).default(30_000),
  })
  .superRefine((config, context) => {
    together(config, context, ['FIREBASE_PROJECT_ID', 'FIREBASE_CLIENT_EMAIL', 'FIREBASE_PRIVATE_KEY']);
    if (config.RESEND_API_KEY === undefined) together(config, context, ['SMTP_HOST', 'SMTP_FROM']);
    else together(config, context, ['RESEND_API_KEY', 'SMTP_FROM']);
    for (const [provider, name] of [
      ['smtp', 'SMTP_HOST'],
      ['resend', 'RESEND_API_KEY'],
    ] as const) {
      if (config.MAIL_PROVIDERS?.includes(provider) === true && config[name] === undefined)
        context.addIssue({ code: 'custom', path: [name], message: `is required when MAIL_PROVIDERS names ${provider}` });
    }
    together(config, context, ['SMTP_USER', 'SMTP_PASSWORD']);
    together(config, context, ['SMS_API_KEY', 'SMS_API_SECRET', 'SMS_FROM_NUMBER']);
    if (config.WHATSAPP_FROM_NUMBER !== undefined && config.SMS_FROM_NUMBER === undefined)
      context.addIssue({
        code: 'custom',
        path: ['SMS_FROM_NUMBER'],
        message: 'is required when WHATSAPP_FROM_NUMBER is set: a text is sent to who is not in WhatsApp',
      });
    if (config.FCM_BASE_URL === undefined && config.FCM_CA_FILE !== undefined) {
      context.addIssue({ code: 'custom', path: ['FCM_CA_FILE'], message: 'is set without FCM_BASE_URL: set both or neither' });
    }
    if (config.SMTP_USER !== undefined && config.SMTP_TLS === 'off' && config.NODE_ENV === 'production') {
      context.addIssue({ code: 'custom', path: ['SMTP_TLS'], message: 'must not be off when SMTP_USER is set: the password would travel in clear text' });
    }
  });

/** The policy that the configuration describes. */
export function policySettings(config: NotificationWorkerConfig): PgPolicySettings {
  return {
    perHour: { push: config.POLICY_PUSH_PER_HOUR, email: config.POLICY_EMAIL_PER_HOUR, sms: config.POLICY_SMS_PER_HOUR },
    mailWaitMs: config.POLICY_MISSED_MAIL_MINUTES * 60_000,
    activeSessionMs: config.POLICY_ACTIVE_SESSION_MS,
    coalesce: config.POLICY_COALESCE_QUIET_MS === 0 ? undefined : { quietMs: config.POLICY_COALESCE_QUIET_MS, maxWaitMs: config.POLICY_COALESCE_MAX_WAIT_MS },
  };
}

/** What `loadConfig` makes of the environment. */
export type NotificationWorkerConfig = z.output<typeof notificationWorkerConfig>;

function together<Config>(config: Config, context: z.core.$RefinementCtx, names: readonly (keyof Config & string)[]): void {
  const missing = names.filter((name) => config[name] === undefined);
  if (missing.length === 0 || missing.length === names.length) return;
  const present = names.filter((name) => config[name] !== undefined);
  for (const name of missing)
    context.addIssue({ code: 'custom', path: [name], message: `is required when ${present.join(' and ')} ${present.length === 1 ? 'is' : 'are'} set` });
}

function phoneNumber() {
  return text().regex(/^\+[1-9]\d{6,14}$/, 'expected a number in E.164 such as +15005550006');
}

function privateKey() {
  return secret().transform((value, context) => {
    const pem = value.replaceAll('\\n', '\n');
    try {
      createPrivateKey(pem);
      return pem;
    } catch {
      // Never the reason itself: it may quote the key.
      context.addIssue('expected a private key in PEM (-----BEGIN PRIVATE KEY-----), line breaks may be written as \\n');
      return z.NEVER;
    }
  });
}

/** Ways for mails. */
export type MailProviderName = 'smtp' | 'resend';

function mailProviders() {
  return text().transform((value, context): MailProviderName[] => {
    const names = value.split(',').map((name) => name.trim());
    const known = names.filter((name) => name === 'smtp' || name === 'resend');
    if (known.length === names.length && new Set(names).size === names.length) return known;
    context.addIssue('expected smtp, resend, or both, parted by a comma');
    return z.NEVER;
  });
}

function mailbox() {
  return text().transform((value, context) => {
    const match = /^(?:"?([^"<>\r\n]*?)"?\s*<([^<>]+)>|([^<>]+))$/.exec(value);
    const address = parseAddress(match?.[2] ?? match?.[3] ?? '');
    if (address === undefined) {
      context.addIssue('expected a sender such as someone@example.com or Example <someone@example.com>');
      return z.NEVER;
    }
    return { name: match?.[1] ?? '', address };
  });
}
