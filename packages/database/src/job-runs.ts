import type { Database } from './database.ts';
import { type NewJob, type RecordOutcome, recordJobs } from './jobs.ts';

/** The fires of the schedules. */
export interface JobRuns {
  /**
   * Notes a fire and records its job, in one transaction. False when another
   * scheduler was first: exactly one of them gets true for a slot.
   */
  begin(run: { jobName: string; scheduledFor: Date; job: NewJob }): Promise<boolean>;
  /** The latest fire of each schedule. */
  latest(): Promise<Map<string, Date>>;
  /** Deletes fires older than the retention. Returns how many. */
  prune(options: { olderThanMs: number }): Promise<number>;
}

/** The fires in `backhaul.job_runs`. */
export function createJobRuns(database: Database): JobRuns {
  return {
    begin: ({ jobName, scheduledFor, job }) =>
      database.transaction(async (client) => {
        const { rowCount } = await client.query(
          'INSERT INTO backhaul.job_runs (job_name, scheduled_for, message_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
          [jobName, scheduledFor, job.messageId],
        );
        if (rowCount === 0) return false;
        const [outcome]: RecordOutcome[] = await recordJobs(client, [job]);
        return outcome?.state === 'open';
      }),
    async latest() {
      const { rows } = await database.query<{ job_name: string; latest: Date }>(
        'SELECT job_name, max(scheduled_for) AS latest FROM backhaul.job_runs GROUP BY job_name',
      );
      return new Map(rows.map((row) => [row.job_name, row.latest]));
    },
    async prune({ olderThanMs }) {
      // Never the latest fire of a schedule: catching up after a stop begins from it.
      const { rowCount } = await database.query(
        `DELETE FROM backhaul.job_runs r WHERE created_at < now() - $1 * interval '1 millisecond'
           AND scheduled_for < (SELECT max(scheduled_for) FROM backhaul.job_runs l WHERE l.job_name = r.job_name)`,
        [olderThanMs],
      );
      return rowCount;
    },
  };
}
