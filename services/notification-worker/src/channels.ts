import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { MailProvider, Mailer, PushSender, SmsPolicy, SmsSender, WhatsAppSender } from '@backhaul/jobs/notification';
import type { Check, Closeable } from '@backhaul/runtime';
import { createFcmPush } from './adapters/fcm-push.ts';
import { createHttpSms, createHttpWhatsApp } from './adapters/http-sms.ts';
import type { TokenPolicy } from './adapters/pg-push-devices.ts';
import { createResendMailer } from './adapters/resend-mailer.ts';
import { createSmtpMailer } from './adapters/smtp-mailer.ts';
import type { NotificationWorkerConfig } from './config.ts';

/** One way to reach people. */
interface Channel<Port> {
  readonly port: Port;
  /** Tells whether the provider can be reached; absent when the channel is not configured. */
  readonly check?: Check;
  readonly close?: Closeable['close'];
  /** Names the variables that would switch the channel on. */
  readonly missing?: string;
}

/** Mail has several ways. */
export interface MailChannel extends Omit<Channel<Mailer>, 'port' | 'check'> {
  /** In the order in which they are asked. */
  readonly providers: readonly [MailWay, ...MailWay[]];
  readonly breaker: { readonly failures: number; readonly openMs: number };
  readonly perMinute: number;
}

/** One way for mails. */
interface MailWay extends MailProvider {
  readonly check?: Check;
}

/** The channels of this process; those without settings refuse every message. */
export interface Channels {
  readonly push: Channel<PushSender>;
  readonly mail: MailChannel;
  readonly sms: Channel<SmsSender>;
  readonly whatsApp: WhatsAppSender;
  readonly smsPolicy: SmsPolicy;
  readonly tokenPolicy: TokenPolicy;
}

/** Makes the channels that the configuration describes. Opens no connection. */
export async function createChannels(config: NotificationWorkerConfig): Promise<Channels> {
  return {
    push: await pushChannel(config),
    mail: mailChannel(config),
    sms: smsChannel(config),
    whatsApp: whatsAppSender(config),
    smsPolicy: smsPolicy(config),
    tokenPolicy: tokenPolicy(config),
  };
}

async function pushChannel(config: NotificationWorkerConfig): Promise<Channel<PushSender>> {
  const { FIREBASE_PROJECT_ID: projectId, FIREBASE_CLIENT_EMAIL: clientEmail, FIREBASE_PRIVATE_KEY: privateKey } = config;
  if (projectId === undefined || clientEmail === undefined || privateKey === undefined)
    return unconfigured('push', 'FIREBASE_PROJECT_ID, FIREBASE_CLIENT_EMAIL and FIREBASE_PRIVATE_KEY');
  const address = new URL(config.FCM_BASE_URL ?? 'https://fcm.googleapis.com');
  const ca = config.FCM_CA_FILE === undefined ? undefined : await readFile(config.FCM_CA_FILE, 'utf8');
  const redirect = config.FCM_BASE_URL === undefined ? undefined : { host: hostOf(address), port: portOf(address), ca };
  const port = createFcmPush({ projectId, clientEmail, privateKey, redirect });
  return { port, check: reachable(hostOf(address), portOf(address)), close: () => port.close() };
}

function mailChannel(config: NotificationWorkerConfig): MailChannel {
  const smtp = smtpWay(config);
  const resend = resendWay(config);
  const configured = { ...(smtp === undefined ? {} : { smtp }), ...(resend === undefined ? {} : { resend }) };
  const [first, ...others] = (config.MAIL_PROVIDERS ?? (['smtp', 'resend'] as const)).flatMap((name) => configured[name] ?? []);
  const missing = 'SMTP_HOST (or RESEND_API_KEY) and SMTP_FROM';
  return {
    providers: first === undefined ? [{ name: 'none', mailer: unconfigured('email', missing).port }] : [first, ...others],
    breaker: { failures: config.MAIL_BREAKER_FAILURES, openMs: config.MAIL_BREAKER_SECONDS * 1_000 },
    perMinute: config.MAIL_PER_MINUTE,
    ...(first === undefined ? { missing } : {}),
    close: async () => smtp?.close(),
  };
}

function smtpWay(config: NotificationWorkerConfig): (MailWay & Closeable) | undefined {
  const { SMTP_HOST: host, SMTP_FROM: from } = config;
  if (host === undefined || from === undefined) return undefined;
  const mailer = createSmtpMailer({ host, port: config.SMTP_PORT, user: config.SMTP_USER, password: config.SMTP_PASSWORD, from, tls: config.SMTP_TLS });
  return { name: 'smtp', mailer, check: reachable(host, config.SMTP_PORT), close: () => mailer.close() };
}

function resendWay(config: NotificationWorkerConfig): MailWay | undefined {
  const { RESEND_API_KEY: apiKey, SMTP_FROM: from } = config;
  if (apiKey === undefined || from === undefined) return undefined;
  const address = new URL(config.RESEND_BASE_URL);
  return { name: 'resend', mailer: createResendMailer({ baseUrl: config.RESEND_BASE_URL, apiKey, from }), check: reachable(hostOf(address), portOf(address)) };
}

function smsChannel(config: NotificationWorkerConfig): Channel<SmsSender> {
  const account = smsAccount(config);
  const { SMS_FROM_NUMBER: from } = config;
  if (account === undefined || from === undefined) return unconfigured('sms', 'SMS_API_KEY, SMS_API_SECRET and SMS_FROM_NUMBER');
  const address = new URL(config.SMS_BASE_URL);
  return { port: createHttpSms({ ...account, from }), check: reachable(hostOf(address), portOf(address)) };
}

function whatsAppSender(config: NotificationWorkerConfig): WhatsAppSender {
  const account = smsAccount(config);
  const { WHATSAPP_FROM_NUMBER: from } = config;
  if (account !== undefined && from !== undefined) return createHttpWhatsApp({ ...account, from });
  return { send: async () => ({ outcome: 'unconfigured', detail: 'WHATSAPP_FROM_NUMBER is not set' }) };
}

function smsAccount(config: NotificationWorkerConfig) {
  const { SMS_API_KEY: accountSid, SMS_API_SECRET: secret, SMS_WEBHOOK_BASE_URL: webhooks } = config;
  if (accountSid === undefined || secret === undefined) return undefined;
  const reportUrl = webhooks === undefined ? undefined : `${webhooks.replace(/\/+$/, '')}/webhooks/twilio/status`;
  return { baseUrl: config.SMS_BASE_URL, accountSid, secret, reportUrl };
}

function tokenPolicy(config: NotificationWorkerConfig): TokenPolicy {
  return { probationMs: config.PUSH_TOKEN_PROBATION_HOURS * 3_600_000, maxGoneShare: config.PUSH_MAX_GONE_PERCENT / 100 };
}

function smsPolicy(config: NotificationWorkerConfig): SmsPolicy {
  return {
    defaultCountry: config.SMS_DEFAULT_COUNTRY,
    maxSegments: config.SMS_MAX_SEGMENTS,
    perHour: {
      otp: config.SMS_CODES_PER_HOUR,
      two_factor: config.SMS_CODES_PER_HOUR,
      alert: config.SMS_ALERTS_PER_HOUR,
      general: config.SMS_GENERAL_PER_HOUR,
    },
    whatsAppWaitMs: config.SMS_WEBHOOK_BASE_URL === undefined ? 0 : config.WHATSAPP_FALLBACK_MS,
  };
}

/** A port that refuses every message; it fits each channel. */
function unconfigured(channel: string, missing: string): Channel<PushSender & Mailer & SmsSender> {
  return {
    missing,
    port: {
      send: async () => ({ outcome: 'unconfigured', detail: `this worker has no ${channel} channel: set ${missing}, then replay the dead letter` }),
      list: async () => ({ outcome: 'unreadable', detail: `this worker has no ${channel} channel` }),
    },
  };
}

/** A TCP connection and nothing more: a greeting or a request at every probe would look like an attack to the provider. */
function reachable(host: string, port: number): Check {
  return () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect({ host, port, timeout: 1_500 });
      const end = (error?: Error) => {
        socket.destroy();
        if (error === undefined) resolve();
        else reject(error);
      };
      socket.once('connect', () => end());
      socket.once('error', end);
      socket.once('timeout', () => end(new Error(`no connection to ${host}:${port} in 1.5 s`)));
    });
}

function hostOf(address: URL): string {
  return address.hostname.replace(/^\[|\]$/g, '');
}

function portOf(address: URL): number {
  return address.port === '' ? (address.protocol === 'https:' ? 443 : 80) : Number(address.port);
}
