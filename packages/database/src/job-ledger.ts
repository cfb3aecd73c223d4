import type { Database, Queryable } from './database.ts';
import { insertDeadJob } from './dead-letters.ts';
import type { HistoryEntry, StoredError } from './history.ts';

/** A job that this worker may run. */
export interface StartedJob {
  readonly state: 'started';
  readonly name: string;
  readonly payload: unknown;
  /** Starts so far, this one included; also the fencing token of the writes below. */
  readonly attempt: number;
  /** Tries that failed before. */
  readonly failures: number;
  readonly traceparent: string | null;
  readonly receivedAt: Date;
  /** When its first run began, or the first since it was opened again. */
  readonly firstStartedAt: Date;
}

/** The worker's side of the record: each run is opened and closed here. */
export interface JobLedger {
  /** Opens a run. `finished`: an earlier run closed the job. `missing`: there is no such job. */
  start(messageId: string, worker: string): Promise<StartedJob | { readonly state: 'finished' | 'missing' }>;
  /** Closes the job as done or skipped. False when a later run has taken over or the job was closed meanwhile. */
  finish(messageId: string, attempt: number, outcome: { status: 'done' | 'skipped'; result: Readonly<Record<string, unknown>> }): Promise<boolean>;
  /** The try failed and another one is due. */
  retry(messageId: string, attempt: number, failure: { error: StoredError; delayMs: number }): Promise<boolean>;
  /** Not now: the run ends without counting as a failed try. */
  postpone(messageId: string, attempt: number, reason: { code: string; message: string; delayMs: number }): Promise<boolean>;
  /** Closes the job for good as a dead letter, in one transaction. `attempt` undefined: whoever holds it (it stalled). */
  bury(messageId: string, attempt: number | undefined, failure: { reason: string; error: StoredError }): Promise<boolean>;
}

/** Appends to the history, keeping the newest 100: a job that is postponed for a day must not grow its row without bound. */
const APPEND = (entry: string) => `history = (CASE WHEN jsonb_array_length(history) >= 100 THEN history - 0 ELSE history END) || ${entry}::jsonb`;

/** The ledger over `backhaul.jobs`. Every write names the attempt, so a superseded worker's write changes nothing. */
export function createJobLedger(database: Database): JobLedger {
  const entry = (event: HistoryEntry['event'], details: Readonly<Record<string, unknown>>) => storable([{ at: new Date().toISOString(), event, ...details }]);
  return {
    async start(messageId, worker) {
      const { rows } = await database.query<Omit<StartedJob, 'state'>>(
        `UPDATE backhaul.jobs SET status = 'active', attempts = attempts + 1, started_at = coalesce(started_at, now()), due_at = NULL, updated_at = now(), ${APPEND('$2')}
         WHERE message_id = $1 AND finished_at IS NULL
         RETURNING name, payload, attempts AS attempt, failures, traceparent, received_at AS "receivedAt", started_at AS "firstStartedAt"`,
        [messageId, entry('started', { worker })],
      );
      if (rows[0] !== undefined) return { state: 'started', ...rows[0] };
      const { rows: found } = await database.query('SELECT 1 FROM backhaul.jobs WHERE message_id = $1', [messageId]);
      return { state: found.length > 0 ? 'finished' : 'missing' };
    },
    async finish(messageId, attempt, { status, result }) {
      const { rowCount } = await database.query(
        `UPDATE backhaul.jobs SET status = $3, result = $4, error = NULL, finished_at = now(), updated_at = now(), ${APPEND('$5')}
         WHERE message_id = $1 AND attempts = $2 AND finished_at IS NULL`,
        [messageId, attempt, status, storable(result), entry('finished', { attempt, status })],
      );
      return rowCount === 1;
    },
    async retry(messageId, attempt, { error, delayMs }) {
      const { rowCount } = await database.query(
        `UPDATE backhaul.jobs SET status = 'retrying', failures = failures + 1, error = $3, due_at = now() + $4 * interval '1 millisecond', updated_at = now(), ${APPEND('$5')}
         WHERE message_id = $1 AND attempts = $2 AND finished_at IS NULL`,
        [messageId, attempt, storable(error), delayMs, entry('failed', { attempt, code: error.code, message: error.message, retryInMs: delayMs })],
      );
      return rowCount === 1;
    },
    async postpone(messageId, attempt, { code, message, delayMs }) {
      const { rowCount } = await database.query(
        `UPDATE backhaul.jobs SET status = 'retrying', due_at = now() + $3 * interval '1 millisecond', updated_at = now(), ${APPEND('$4')}
         WHERE message_id = $1 AND attempts = $2 AND finished_at IS NULL`,
        [messageId, attempt, delayMs, entry('postponed', { attempt, code, message, retryInMs: delayMs })],
      );
      return rowCount === 1;
    },
    bury: (messageId, attempt, { reason, error }) =>
      database.transaction((client) =>
        buryJob(client, messageId, attempt, { reason, error, entry: entry('finished', { attempt, status: 'dead', reason, message: error.message }) }),
      ),
  };
}

/**
 * JSON that jsonb takes. It refuses NUL characters and half surrogate pairs,
 * and a run whose end is refused is run again, for ever; a tag in a media file
 * or the output of a child process is enough to bring one.
 */
function storable(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === 'bigint') return String(inner);
    return typeof inner === 'string' ? inner.replaceAll('\u0000', '').toWellFormed() : inner;
  });
}

async function buryJob(
  client: Queryable,
  messageId: string,
  attempt: number | undefined,
  failure: { reason: string; error: StoredError; entry: string },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `UPDATE backhaul.jobs SET status = 'dead', failures = failures + 1, error = $3, finished_at = now(), updated_at = now(), ${APPEND('$4')}
     WHERE message_id = $1 AND ($2::int IS NULL OR attempts = $2) AND finished_at IS NULL`,
    [messageId, attempt ?? null, storable(failure.error), failure.entry],
  );
  if (rowCount === 1) await insertDeadJob(client, messageId, failure.reason);
  return rowCount === 1;
}
