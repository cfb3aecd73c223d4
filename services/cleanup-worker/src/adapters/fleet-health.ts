import { type Database, createJobs } from '@backhaul/database';
import type { Health } from '@backhaul/jobs/cleanup';

/** The dependencies' own checks, and the open jobs on record. */
export function fleetHealth(database: Database, dependencies: Health['dependencies']): Health {
  const jobs = createJobs(database);
  return {
    dependencies,
    async openJobs() {
      const queues = new Map<string, { queue: string; open: number; oldestSeconds: number }>();
      for (const { queue, count, oldestSeconds } of await jobs.summary()) {
        const sum = queues.get(queue) ?? { queue, open: 0, oldestSeconds: 0 };
        queues.set(queue, { queue, open: sum.open + count, oldestSeconds: Math.max(sum.oldestSeconds, Math.round(oldestSeconds)) });
      }
      return [...queues.values()];
    },
  };
}
