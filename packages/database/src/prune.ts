import type { Database } from './database.ts';
import { createDeadLetters } from './dead-letters.ts';
import { createJobRuns } from './job-runs.ts';
import { createJobs } from './jobs.ts';
import { prunePolicyUsers } from './policy-users.ts';

/** Below this a redelivered or re-published message could find its record gone and run again. */
export const MIN_RETENTION_MS = 48 * 3_600_000;

/** Tables of the policy, and the column that tells how old a row is. */
const POLICY_LEFTOVERS = [
  ['withdrawals', 'withdrawn_at'],
  ['read_marks', 'updated_at'],
  ['presence', 'active_until'],
  ['chat_mutes', 'until'],
  ['notification_caps', 'updated_at'],
  ['coalesced', 'updated_at'],
  ['coalesced_messages', 'decided_at'],
] as const;

/** What a pruning run deleted. */
export interface Pruned {
  readonly jobs: number;
  readonly effects: number;
  readonly deadLetters: number;
  readonly jobRuns: number;
  readonly policyUsers: number;
}

/**
 * Deletes what is finished and older than the retention from the fleet's own
 * tables, in batches. Deduplication has no hole: a job's row stays for the
 * whole retention after it finished, an open job's row stays for ever, and an
 * effect outlives its job, and an open dead letter that may still be replayed.
 *
 * @throws {RangeError} when `olderThanMs` is below 48 h
 */
export async function pruneFinished(database: Database, options: { olderThanMs: number; batchSize: number; signal?: AbortSignal }): Promise<Pruned> {
  // Negated, so that NaN does not pass.
  if (!(options.olderThanMs >= MIN_RETENTION_MS))
    throw new RangeError(`the retention must be at least ${MIN_RETENTION_MS} ms (48 h), got ${options.olderThanMs}`);
  const jobs = await createJobs(database).prune(options);
  let effects = 0;
  while (!options.signal?.aborted) {
    const { rowCount } = await database.query(
      `DELETE FROM backhaul.effects WHERE ctid = ANY(ARRAY(
         SELECT e.ctid FROM backhaul.effects e
         WHERE e.created_at < now() - $1 * interval '1 millisecond' AND e.updated_at < now() - $1 * interval '1 millisecond'
           AND NOT EXISTS (SELECT 1 FROM backhaul.jobs j WHERE j.message_id = e.message_id)
           AND NOT EXISTS (SELECT 1 FROM backhaul.dead_letters d WHERE d.message_id = e.message_id AND d.retried_at IS NULL)
         LIMIT $2 FOR UPDATE SKIP LOCKED))`,
      [options.olderThanMs, options.batchSize],
    );
    effects += rowCount;
    if (rowCount < options.batchSize) break;
  }
  // Longer than any window of a limit: the row says nothing any more. Opt-outs are kept for good.
  while (!options.signal?.aborted) {
    const { rowCount } = await database.query(
      `DELETE FROM backhaul.sms_limits WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM backhaul.sms_limits WHERE updated_at < now() - $1 * interval '1 millisecond' LIMIT $2 FOR UPDATE SKIP LOCKED))`,
      [options.olderThanMs, options.batchSize],
    );
    if (rowCount < options.batchSize) break;
  }
  // Statuses go with the effects that they speak of. What people asked for (sms_keywords) stays, as opt-outs do.
  while (!options.signal?.aborted) {
    const { rowCount } = await database.query(
      `DELETE FROM backhaul.sms_statuses WHERE ctid = ANY(ARRAY(
         SELECT s.ctid FROM backhaul.sms_statuses s
         WHERE s.created_at < now() - $1 * interval '1 millisecond' AND s.updated_at < now() - $1 * interval '1 millisecond'
         LIMIT $2 FOR UPDATE SKIP LOCKED))`,
      [options.olderThanMs, options.batchSize],
    );
    if (rowCount < options.batchSize) break;
  }
  // What the policy needs for as long as something may wait. What people chose is kept.
  for (const [table, outdated] of POLICY_LEFTOVERS) {
    while (!options.signal?.aborted) {
      const { rowCount } = await database.query(
        `DELETE FROM backhaul.${table} WHERE ctid = ANY(ARRAY(
           SELECT ctid FROM backhaul.${table} WHERE ${outdated} < now() - $1 * interval '1 millisecond' LIMIT $2 FOR UPDATE SKIP LOCKED))`,
        [options.olderThanMs, options.batchSize],
      );
      if (rowCount < options.batchSize) break;
    }
  }
  return {
    jobs,
    effects,
    deadLetters: await createDeadLetters(database).prune(options),
    jobRuns: await createJobRuns(database).prune(options),
    // Last: by now what is outdated about them is gone.
    policyUsers: await prunePolicyUsers(database, options),
  };
}
