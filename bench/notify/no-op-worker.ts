import { createDatabase, createJobLedger } from '@backhaul/database';
import { type PushSender, notification, notificationBatchHandlers, notificationHandlers, notificationJobs } from '@backhaul/jobs/notification';
import { redisOptions, startWorker } from '@backhaul/queue';
import { runService } from '@backhaul/runtime';
import { notificationWorkerConfig, policySettings } from '../../services/notification-worker/src/config.ts';
import { createChannels } from '../../services/notification-worker/src/channels.ts';
import { createPorts } from '../../services/notification-worker/src/ports.ts';
import { countDone } from './count-done.ts';

const count = countDone();

/** The notification worker with a provider that takes every push at once. Everything else is as in its `main.ts`. */
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
  const push: PushSender = {
    send() {
      count();
      return Promise.resolve({ outcome: 'sent', providerId: 'no-op' });
    },
  };
  const channels = { ...(await createChannels(config)), push: { port: push } };
  onStop(
    await startWorker({
      queue: notification,
      jobs: notificationJobs,
      handlers: notificationHandlers,
      batchHandlers: notificationBatchHandlers,
      ports: createPorts({ channels, database, log, metrics, policy: policySettings(config) }),
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
