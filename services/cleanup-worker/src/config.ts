import { isAbsolute } from 'node:path';
import { databaseEnv } from '@backhaul/database';
import { objectStoreEnv } from '@backhaul/object-store';
import { concurrency, redisEnv, workerEnv } from '@backhaul/queue';
import { integer, milliseconds, serviceEnv, text } from '@backhaul/runtime';
import { z } from 'zod';

/** The cleanup-worker's variables. */
export const cleanupWorkerConfig = z.object({
  ...serviceEnv,
  ...redisEnv,
  ...databaseEnv,
  ...objectStoreEnv,
  ...workerEnv,
  /** Jobs at once. More than one gains nothing: they press on the same database. */
  CLEANUP_CONCURRENCY: concurrency(1),
  /** Rows per batch at most; slow batches are made smaller by themselves. */
  CLEANUP_BATCH_SIZE: integer({ min: 1, max: 1_000 }).default(500),
  /** The rest between two batches, in which the chat has the database for itself. */
  CLEANUP_BATCH_PAUSE_MS: milliseconds({ min: 0, max: 60_000 }).default(50),
  /** When a cleanup run stops by itself and leaves the rest to the next; the job's own limit is 120,000. */
  CLEANUP_RUN_BUDGET_MS: milliseconds({ min: 100, max: 110_000 }).default(80_000),
  /** The longest that the VACUUM of one table may take. */
  CLEANUP_VACUUM_TIMEOUT_MS: milliseconds({ min: 1_000, max: 110_000 }).default(30_000),
  /** How long finished jobs, effects, fires and retried dead letters stay on record. At least 48: a message that comes again within this time is recognised. */
  JOB_RETENTION_HOURS: integer({ min: 48, max: 24 * 3_650 }).default(168),
  /** The folder, on this machine, that absolute paths in temporary_files must lie in; without it none is deleted. */
  TEMP_FILES_DIR: text()
    .refine((path) => isAbsolute(path) && path !== '/', { error: 'expected an absolute path to a folder other than /' })
    .optional(),
});
