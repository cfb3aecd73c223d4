import { checkChatTables, createDatabase, createJobLedger, migrate } from '@backhaul/database';
import { cleanup } from '@backhaul/jobs';
import { type CleanupPorts, cleanupHandlers, cleanupJobs } from '@backhaul/jobs/cleanup';
import { createObjectStore, objectStoreOptions } from '@backhaul/object-store';
import { failFast, redisOptions, startWorker } from '@backhaul/queue';
import { runService } from '@backhaul/runtime';
import { fleetHealth } from './adapters/fleet-health.ts';
import { folderLocalFiles } from './adapters/folder-local-files.ts';
import { postgresCursors } from './adapters/postgres-cursors.ts';
import { postgresMessages, postgresStories, postgresTemporaryFiles } from './adapters/postgres-expiring-rows.ts';
import { postgresMaintenance } from './adapters/postgres-maintenance.ts';
import { postgresMediaOwners } from './adapters/postgres-media-owners.ts';
import { postgresPrekeys } from './adapters/postgres-prekeys.ts';
import { postgresSessions } from './adapters/postgres-sessions.ts';
import { postgresUserStatistics } from './adapters/postgres-user-statistics.ts';
import { s3Objects } from './adapters/s3-objects.ts';
import { cleanupWorkerConfig } from './config.ts';

await runService('cleanup-worker', { env: process.env, config: cleanupWorkerConfig }, async ({ config, log, metrics, http, onStop }) => {
  const pool = { url: config.DATABASE_URL, applicationName: 'backhaul-cleanup-worker', log };
  const database = onStop(createDatabase({ ...pool, poolSize: config.DATABASE_POOL_SIZE, statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS }));
  const unhurried = onStop(createDatabase({ ...pool, poolSize: 1, statementTimeoutMs: config.CLEANUP_VACUUM_TIMEOUT_MS }));
  const store = onStop(createObjectStore(objectStoreOptions(config)));
  const redis = failFast(redisOptions(config), log);
  onStop({ close: async () => redis.disconnect() });

  http.addCheck('postgres', () => database.ping());
  http.addCheck('s3', () => store.ping(), { critical: false });
  await migrate(database);
  const chatSchema = async () => {
    const problems = await checkChatTables(database);
    if (problems.length > 0) throw new Error(problems.join('; '));
  };
  // Said aloud, but no reason to stay away: the jobs of the other tables still work.
  await chatSchema().catch((error: unknown) => log.error('the chat app has another schema than the jobs were written for', { error }));
  http.addCheck('chat-schema', chatSchema, { critical: false });

  const ports: CleanupPorts = {
    pace: { batchSize: config.CLEANUP_BATCH_SIZE, pauseMs: config.CLEANUP_BATCH_PAUSE_MS, budgetMs: config.CLEANUP_RUN_BUDGET_MS },
    stories: postgresStories(database),
    messages: postgresMessages(database),
    temporaryFiles: postgresTemporaryFiles(database),
    sessions: postgresSessions(database),
    prekeys: postgresPrekeys(database),
    mediaOwners: postgresMediaOwners(database),
    statistics: postgresUserStatistics(database),
    cursors: postgresCursors(database),
    objects: s3Objects(store),
    localFiles: folderLocalFiles(config.TEMP_FILES_DIR),
    maintenance: postgresMaintenance({ database, unhurried, retentionMs: config.JOB_RETENTION_HOURS * 3_600_000 }),
    health: fleetHealth(database, { postgres: () => database.ping(), redis: () => redis.ping(), objectStore: () => store.ping() }),
  };
  onStop(
    await startWorker({
      queue: cleanup,
      jobs: cleanupJobs,
      handlers: cleanupHandlers,
      ports,
      redis: redisOptions(config),
      prefix: config.QUEUE_PREFIX,
      ledger: createJobLedger(database),
      concurrency: config.CLEANUP_CONCURRENCY,
      config,
      log,
      metrics,
      http,
    }),
  );
});
