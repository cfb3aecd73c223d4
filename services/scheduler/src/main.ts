import { createDatabase, createJobRuns, migrate } from '@backhaul/database';
import { catalog } from '@backhaul/jobs';
import { createProducer, redisOptions } from '@backhaul/queue';
import { runService } from '@backhaul/runtime';
import { schedulerConfig } from './config.ts';
import { createFire } from './fire.ts';
import { createSchedules } from './schedule.ts';
import { startScheduler } from './scheduler.ts';
import { createSchedulesView } from './schedules-view.ts';

await runService('scheduler', { env: process.env, config: schedulerConfig }, async ({ config, log, metrics, http, onStop }) => {
  const schedules = createSchedules(catalog.scheduled, config.SCHEDULER_OVERRIDES ?? new Map());
  const database = onStop(
    createDatabase({
      url: config.DATABASE_URL,
      poolSize: config.DATABASE_POOL_SIZE,
      statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
      applicationName: 'backhaul-scheduler',
      log,
    }),
  );
  await migrate(database);
  const producer = onStop(await createProducer({ redis: redisOptions(config), prefix: config.QUEUE_PREFIX, log }));
  const runs = createJobRuns(database);
  const fires = metrics.counter('schedule_fires_total', 'What came of the attempts to fire a schedule', ['job', 'result']);
  const scheduler = onStop(
    startScheduler({
      schedules,
      fire: createFire({ runs, producer, log }),
      latest: () => runs.latest(),
      catchUpMs: config.SCHEDULER_CATCH_UP_MS,
      log,
      onFire: (job, result) => fires.inc({ job, result }),
    }),
  );
  http.addCheck('postgres', () => database.ping());
  // A fire is on record before it is in Redis: without Redis it is late, not lost.
  http.addCheck('redis', () => producer.ping(), { critical: false });
  http.addLiveness(() => scheduler.wedged());
  const view = createSchedulesView(schedules, () => runs.latest());
  http.app.get('/schedules', async (_request, response) => {
    response.json(await view());
  });
});
