import { createConnection, createPublisher } from '@backhaul/broker';
import {
  createDatabase,
  createDeadLetters,
  createDeviceTokens,
  createEffects,
  createEmailQueue,
  createJobRuns,
  createJobs,
  createMailSuppressions,
  createSmsReports,
  createUserPolicy,
} from '@backhaul/database';
import { catalog, queues } from '@backhaul/jobs';
import { createInspector, createProducer, failFast, redisOptions } from '@backhaul/queue';
import { createReplay } from '@backhaul/replay';
import { runService } from '@backhaul/runtime';
import { opsApiConfig } from './config.ts';
import { exportFleetMetrics } from './fleet-metrics.ts';
import { answerErrors, requireToken } from './http-errors.ts';
import { onDemand } from './on-demand.ts';
import { deadLetterRoutes } from './routes/dead-letters.ts';
import { deviceRoutes } from './routes/devices.ts';
import { jobRoutes } from './routes/jobs.ts';
import { mailRoutes } from './routes/mails.ts';
import { queueRoutes } from './routes/queues.ts';
import { scheduleRoutes } from './routes/schedules.ts';
import { templateRoutes } from './routes/templates.ts';
import { twilioWebhookRoutes } from './routes/twilio-webhooks.ts';
import { userPolicyRoutes } from './routes/user-policy.ts';

await runService('ops-api', { env: process.env, config: opsApiConfig }, ({ config, log, metrics, http, onStop }) => {
  const database = onStop(
    createDatabase({
      url: config.DATABASE_URL,
      poolSize: config.DATABASE_POOL_SIZE,
      statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
      applicationName: 'backhaul-ops-api',
      log,
    }),
  );
  // Not waited for: people look here when Redis is away.
  const redis = failFast(redisOptions(config), log);
  onStop({ close: () => Promise.resolve(redis.disconnect()) });
  const inspector = onStop(createInspector({ redis, prefix: config.QUEUE_PREFIX, queues: queues.map(({ name }) => name), log }));

  // Only a retry needs these.
  const producer = onStop(onDemand(() => createProducer({ redis: redisOptions(config), prefix: config.QUEUE_PREFIX, log })));
  const connection = onStop(
    onDemand(() => {
      if (config.RABBITMQ_URL === undefined) throw new Error('RABBITMQ_URL is not set: dead messages of the bridge cannot be published again');
      return createConnection({ url: config.RABBITMQ_URL, name: 'backhaul-ops-api', log, initialRetries: 0 });
    }),
  );
  const publisher = onStop(onDemand(async () => createPublisher({ connection: await connection.get(), exchange: config.RABBITMQ_EXCHANGE, log })));

  const jobs = createJobs(database);
  const deadLetters = createDeadLetters(database);
  const authorized = requireToken(config.OPS_TOKEN);
  const replay = createReplay({ deadLetters, producer: producer.get, publisher: publisher.get, log });

  http.app.use(
    queueRoutes({ inspector, jobs, timeoutMs: 3_000 }),
    jobRoutes({ jobs, effects: createEffects(database), deadLetters, inspector }),
    deadLetterRoutes({ deadLetters, replay, authorized }),
    deviceRoutes({ devices: createDeviceTokens(database), authorized }),
    mailRoutes({ emails: createEmailQueue(database), suppressions: createMailSuppressions(database), authorized }),
    scheduleRoutes({ scheduled: catalog.scheduled, runs: createJobRuns(database) }),
    templateRoutes(),
    twilioWebhookRoutes({ authToken: config.SMS_API_SECRET, baseUrl: config.SMS_WEBHOOK_BASE_URL, reports: createSmsReports(database), metrics }),
    userPolicyRoutes({ policy: createUserPolicy(database), authorized }),
    answerErrors,
  );
  exportFleetMetrics({ metrics, inspector, deadLetters, log });
  http.queues(() => inspector.all());
  http.addCheck('postgres', () => database.ping());
  // Not critical: the record answers without Redis, and that is when people come here.
  http.addCheck('redis', () => redis.ping(), { critical: false });
  if (config.RABBITMQ_URL !== undefined) {
    http.addCheck('rabbitmq', async () => ((await connection.get()).connected ? undefined : Promise.reject(new Error('not connected'))), { critical: false });
  }
  return Promise.resolve();
});
