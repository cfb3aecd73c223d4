import { databaseEnv } from '@backhaul/database';
import { redisEnv } from '@backhaul/queue';
import { milliseconds, serviceEnv } from '@backhaul/runtime';
import { z } from 'zod';

/** The scheduler's variables. */
export const schedulerConfig = z.object({
  ...serviceEnv,
  ...redisEnv,
  ...databaseEnv,
  /** At the start each schedule's latest missed slot is fired if it is not older than this; 0 fires none. */
  SCHEDULER_CATCH_UP_MS: milliseconds({ min: 0, max: 7 * 86_400_000 }).default(6 * 3_600_000),
  /** Other times than the jobs' own, or `off`: `cleanup.delete-orphaned-media=0 5 * * 6; cleanup.check-health=off`. Five fields, UTC. */
  SCHEDULER_OVERRIDES: z.string().transform(readOverrides).optional(),
});

/** Reads `name=expression; name=off`. Whether the names and expressions exist is checked against the catalog, later. */
function readOverrides(text: string, context: z.core.$RefinementCtx<string>): ReadonlyMap<string, string> {
  const overrides = new Map<string, string>();
  for (const entry of text.split(';').map((part) => part.trim())) {
    if (entry === '') continue;
    const match = /^([^=\s]+)\s*=\s*(\S.*)$/.exec(entry);
    const [, name, cron] = match ?? [];
    if (name === undefined || cron === undefined || overrides.has(name)) {
      context.addIssue('expected <job>=<cron expression or off>, separated by ; and each job once');
      return z.NEVER;
    }
    overrides.set(name, cron);
  }
  return overrides;
}
