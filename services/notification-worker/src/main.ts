import { createDatabase, createJobLedger } from '@backhaul/database';
import { notification, notificationBatchHandlers, notificationHandlers, notificationJobs } from '@backhaul/jobs/notification';
import { redisOptions, startWorker } from '@backhaul/queue';
import { runService } from '@backhaul/runtime';
import { createChannels } from './channels.ts';
import { notificationWorkerConfig, policySettings } from './config.ts';
import { createPorts } from './ports.ts';

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
  http.addCheck('postgres', () => database.ping());

  const channels = await createChannels(config);
  for (const [name, channel] of [
    ['push', channels.push],
    ['mail', channels.mail],
    ['sms', channels.sms],
  ] as const) {
    if (channel.missing !== undefined) log.warn('channel not configured: its jobs become dead letters', { channel: name, set: channel.missing });
    if (channel.close !== undefined) onStop({ close: channel.close });
  }
  const { providers } = channels.mail;
  for (const [name, check] of [
    ['push', channels.push.check],
    ...providers.map((provider) => [providers.length === 1 ? 'mail' : `mail-${provider.name}`, provider.check] as const),
    ['sms', channels.sms.check],
  ] as const) {
    // Reported, not critical: a provider that is away must not take the other channels' worker out of service.
    if (check !== undefined) http.addCheck(name, check, { critical: false });
  }

  const ports = createPorts({ channels, database, log, metrics, brands: config.MAIL_BRANDS, policy: policySettings(config) });
  onStop(ports.devices);
  onStop(
    await startWorker({
      queue: notification,
      jobs: notificationJobs,
      handlers: notificationHandlers,
      batchHandlers: notificationBatchHandlers,
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
