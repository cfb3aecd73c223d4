import type { BatchHandlersFor, HandlersFor } from '@backhaul/queue/job';
import type { notificationJobs } from './jobs.ts';
import type { NotificationPorts } from './ports.ts';
import { sendEmailHandler } from './send-email/handler.ts';
import { sendPushBatch } from './send-push/batch.ts';
import { sendPushHandler } from './send-push/handler.ts';
import { sendSmsHandler } from './send-sms/handler.ts';
import { withdrawHandler } from './withdraw/handler.ts';

export { notification } from '../queues.ts';
export { notificationJobs } from './jobs.ts';
export type { MailGuard, MailMessage, MailPolicy, Mailer } from './mail-ports.ts';
export { isSupportedCountry } from 'libphonenumber-js/max';
export { parseAddress } from './send-email/address.ts';
export { type MailProvider, createFailoverMailer } from './send-email/failover-mailer.ts';
export type {
  Delivery,
  EffectClaim,
  EffectLedger,
  NotificationLog,
  NotificationPorts,
  NotificationRecord,
  PushMessage,
  PushOptions,
  PushSender,
} from './ports.ts';
export type { SmsClass, SmsGuard, SmsList, SmsPolicy, SmsReport, SmsReports, SmsSender, TextMessage, WhatsAppMessage, WhatsAppSender } from './sms-ports.ts';
export type { PolicyPort, PolicySettings } from './policy/port.ts';
export type { ChannelBrake } from './channel-brake.ts';
export type { PushDevices } from './send-push/devices.ts';

/** The work of every notification job; a job without its handler does not compile. */
export const notificationHandlers = {
  'notification.send-push': sendPushHandler,
  'notification.send-email': sendEmailHandler,
  'notification.send-sms': sendSmsHandler,
  'notification.withdraw': withdrawHandler,
} satisfies HandlersFor<typeof notificationJobs, NotificationPorts>;

/** The work of those of which many come at once. */
export const notificationBatchHandlers = { 'notification.send-push': sendPushBatch } satisfies BatchHandlersFor<typeof notificationJobs, NotificationPorts>;
