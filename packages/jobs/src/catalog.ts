import type { JobDefinition } from '@backhaul/queue/job';
import { cleanupJobs } from './cleanup/jobs.ts';
import { mediaJobs } from './media/jobs.ts';
import { notificationJobs } from './notification/jobs.ts';

export * from './queues.ts';

/** Every job, and the ways in which processes look for one. */
export interface Catalog {
  readonly all: readonly JobDefinition[];
  /** The job that an event starts. */
  readonly byRoutingKey: ReadonlyMap<string, JobDefinition>;
  readonly byName: ReadonlyMap<string, JobDefinition>;
  /** The jobs that fire by themselves. */
  readonly scheduled: readonly (JobDefinition & Required<Pick<JobDefinition, 'schedule'>>)[];
}

/**
 * Puts definitions together.
 *
 * @throws {Error} when two jobs share a name or an event: a message would be done by whichever came last
 */
export function createCatalog(jobs: readonly JobDefinition[]): Catalog {
  const byName = new Map<string, JobDefinition>();
  const byRoutingKey = new Map<string, JobDefinition>();
  for (const job of jobs) {
    if (byName.has(job.name)) throw new Error(`two jobs are named ${job.name}: rename one`);
    byName.set(job.name, job);
    if (job.on === undefined) continue;
    const other = byRoutingKey.get(job.on.routingKey);
    if (other !== undefined)
      throw new Error(`${job.name} and ${other.name} both start on ${job.on.routingKey}: one event is one job, let the first enqueue the second`);
    byRoutingKey.set(job.on.routingKey, job);
  }
  return {
    all: jobs,
    byName,
    byRoutingKey,
    scheduled: jobs.filter((job): job is Catalog['scheduled'][number] => job.schedule !== undefined),
  };
}

// Payload types differ by job; the catalog is for those who only route, and they hand payloads on unread.
const definitions = [...mediaJobs, ...notificationJobs, ...cleanupJobs] as readonly unknown[] as readonly JobDefinition[];

/** The fleet's jobs. */
export const catalog = createCatalog(definitions);
