import {
  type Database,
  createChannelHolds,
  createDeviceTokens,
  createEffects,
  createMailGuard,
  createSmsGuard,
  createSmsReports,
  createWithdrawals,
} from '@backhaul/database';
import { type Delivery, type MailProvider, type NotificationPorts, type NotificationRecord, createFailoverMailer } from '@backhaul/jobs/notification';
import type { MailBrands } from '@backhaul/jobs/templates';
import type { Closeable, Logger, Metrics } from '@backhaul/runtime';
import { createPgNotificationLog } from './adapters/pg-notification-log.ts';
import { type PgPolicySettings, createPgPolicy } from './adapters/pg-policy.ts';
import { createPgPushDevices } from './adapters/pg-push-devices.ts';
import { createSharedBrake } from './adapters/shared-brake.ts';
import type { Channels } from './channels.ts';

interface Sender<Message> {
  send(message: Message, signal: AbortSignal): Promise<Delivery>;
}

/** The effects of this process: its channels to the outside, the ledger and the log in Postgres. */
export function createPorts({
  channels,
  database,
  log,
  metrics,
  brands,
  policy,
}: {
  channels: Channels;
  database: Database;
  log: Logger;
  metrics: Metrics;
  brands?: MailBrands | undefined;
  policy?: PgPolicySettings | undefined;
}): NotificationPorts & { readonly devices: Closeable } {
  const requests = metrics.counter('provider_requests_total', 'Messages given to a provider, by what it answered', ['provider', 'outcome']);
  const durations = metrics.seconds('provider_request_seconds', 'How long a provider took to answer', ['provider']);
  const unauthorized = metrics.gauge('channel_unauthorized', '1 from a refusal of our credentials until the channel sends again', ['channel']);
  const measured = <Message>(provider: string, port: Sender<Message>): Sender<Message> => ({
    async send(message: Message, signal: AbortSignal): Promise<Delivery> {
      const startedAt = performance.now();
      const delivery = await port.send(message, signal);
      durations.observe({ provider }, (performance.now() - startedAt) / 1_000);
      requests.inc({ provider, outcome: delivery.outcome });
      return delivery;
    },
  });
  /** Set when it changes only: thousands of sends a second say the same. */
  const alarms = new Map<string, 0 | 1>();
  const alarm = (channel: NotificationRecord['channel'], value: 0 | 1) => {
    if (alarms.get(channel) === value) return;
    alarms.set(channel, value);
    unauthorized.set({ channel }, value);
  };
  // Around all providers of a channel: one whose place another takes is no alarm.
  const alarmed = <Message>(channel: NotificationRecord['channel'], port: Sender<Message>): Sender<Message> => ({
    async send(message, signal) {
      const delivery = await port.send(message, signal);
      if (delivery.outcome === 'sent') alarm(channel, 0);
      else if (delivery.outcome === 'unauthorized' && delivery.about === undefined) alarm(channel, 1);
      return delivery;
    },
  });
  const mailGuard = createMailGuard(database);
  const [first, ...others] = channels.mail.providers;
  const measuredWay = ({ name, mailer }: MailProvider): MailProvider => ({ name, mailer: measured(name, mailer) });
  const providers = [measuredWay(first), ...others.map(measuredWay)] as const;
  const mailer = createFailoverMailer({ providers, breaker: channels.mail.breaker, routes: mailGuard, log });
  metrics.gauge('mail_provider_left_alone', '1 while a mail provider has failed so often that it is asked by one mail at most', ['provider'], (gauge) => {
    for (const { provider, state } of mailer.states()) gauge.set({ provider }, state === 'closed' ? 0 : 1);
  });
  return {
    push: alarmed('push', measured('fcm', channels.push.port)),
    devices: createPgPushDevices({ tokens: createDeviceTokens(database), policy: channels.tokenPolicy, log, metrics }),
    mailer: alarmed('email', mailer),
    mailGuard,
    mailPolicy: { perMinute: channels.mail.perMinute },
    sms: { ...alarmed('sms', measured('sms', channels.sms.port)), list: (message, claimedAt, signal) => channels.sms.port.list(message, claimedAt, signal) },
    whatsApp: alarmed('sms', measured('whatsapp', channels.whatsApp)),
    smsPolicy: channels.smsPolicy,
    smsGuard: createSmsGuard(database),
    smsReports: createSmsReports(database),
    notifications: createPgNotificationLog(database, log),
    effects: createEffects(database),
    withdrawals: createWithdrawals(database),
    brake: createSharedBrake({ holds: createChannelHolds(database), log }),
    ...(brands === undefined ? {} : { brands }),
    ...(policy === undefined ? {} : { policy: createPgPolicy({ database, metrics, settings: policy }) }),
  };
}
