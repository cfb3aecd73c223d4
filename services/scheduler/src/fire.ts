import { createHash } from 'node:crypto';
import type { JobRuns } from '@backhaul/database';
import type { Producer } from '@backhaul/queue';
import type { Logger } from '@backhaul/runtime';
import type { ScheduledJob } from './schedule.ts';

/** Fires one slot of one job. `taken`: another scheduler, or an earlier life of this one, was first. Throws when the record cannot be reached. */
export type Fire = (job: ScheduledJob, slot: Date) => Promise<'fired' | 'taken'>;

/** What a fire needs. */
export interface FireDependencies {
  readonly runs: Pick<JobRuns, 'begin'>;
  readonly producer: Pick<Producer, 'addBatch'>;
  readonly log: Logger;
}

/**
 * Fires by the record: the row of the slot and the row of the job are written
 * in one transaction, so any number of schedulers make one job of a slot.
 * Redis comes after. When it is away, or the process dies in between, the
 * job is on record and the bridge's reconciler adds it.
 */
export function createFire({ runs, producer, log }: FireDependencies): Fire {
  return async (job, slot) => {
    const { payload } = job.schedule;
    const messageId = `schedule:${job.name}:${slot.toISOString()}`;
    const payloadJson = JSON.stringify(payload);
    const priority = typeof job.priority === 'number' ? job.priority : job.priority(payload);
    const reference = { messageId, name: job.name, priority, traceparent: null };
    const bodyHash = createHash('sha256').update(`schedule.${job.name}\n${payloadJson}`).digest();
    const first = await runs.begin({ jobName: job.name, scheduledFor: slot, job: { ...reference, queue: job.queue.name, bodyHash, payloadJson } });
    if (!first) return 'taken';
    try {
      await producer.addBatch(job.queue.name, [reference]);
    } catch (error) {
      log.warn('scheduled job is on record but not in the queue yet: it will be reconciled', { job: job.name, messageId, error });
    }
    return 'fired';
  };
}
