import { createDatabase, createEffects, createJobLedger } from '@backhaul/database';
import { type NotificationPorts, notification, notificationHandlers, notificationJobs } from '@backhaul/jobs/notification';
import { redisOptions, startWorker } from '@backhaul/queue';
import { runService } from '@backhaul/runtime';
import { createPgNotificationLog } from './adapters/pg-notification-log.ts';
import { createChannels } from './channels.ts';
import { notificationWorkerConfig } from './config.ts';

await runService('notification-worker', { env: process.env, config: notificationWorkerConfig }, async ({ config, log, metrics, http, onStop }) => {
  const database = onStop(
    createDatabase({
      url: config.DATABASE_URL,
      poolSize: config.DATABASE_POOL_SIZE,
      statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
      applicationName: 'backhaul-notification-worker',
      log,
    }),
  );
  http.addCheck('database', () => database.ping());

  const channels = await createChannels(config);
  for (const [name, channel] of Object.entries(channels)) {
    if (channel.missing !== undefined) log.warn('channel not configured: its jobs become dead letters', { channel: name, set: channel.missing });
    // Reported, not critical: a provider that is away must not take the other channels' worker out of service.
    if (channel.check !== undefined) http.addCheck(name, channel.check, { critical: false });
    if (channel.close !== undefined) onStop({ close: channel.close });
  }

  const ports: NotificationPorts = {
    push: channels.push.port,
    mailer: channels.mail.port,
    sms: channels.sms.port,
    notifications: createPgNotificationLog(database, log),
    effects: createEffects(database),
  };
  onStop(
    await startWorker({
      queue: notification,
      jobs: notificationJobs,
      handlers: notificationHandlers,
      ports,
      redis: redisOptions(config),
      prefix: config.QUEUE_PREFIX,
      ledger: createJobLedger(database),
      concurrency: config.NOTIFICATION_CONCURRENCY,
      config,
      log,
      metrics,
      http,
    }),
  );
});
