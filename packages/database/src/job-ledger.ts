import type { Database, Queryable } from './database.ts';
import { insertDeadJob } from './dead-letters.ts';
import { gather } from './gather.ts';
import type { HistoryEntry, StoredError } from './history.ts';
import { storable } from './storable.ts';

/** A job that this worker may run. */
export interface StartedJob {
  readonly state: 'started';
  readonly name: string;
  readonly payload: unknown;
  /** Starts so far, this one included. */
  readonly attempt: number;
  /** Tries that failed before. */
  readonly failures: number;
  readonly traceparent: string | null;
  readonly receivedAt: Date;
  /** When its first run began, or the first since it was opened again. */
  readonly firstStartedAt: Date;
}

/** How runs are closed. Each answers false when another run has taken over or the job was closed meanwhile. */
export interface RunClosings {
  /** Closes the job as done or skipped. */
  finish(messageId: string, attempt: number, outcome: { status: 'done' | 'skipped'; result: Readonly<Record<string, unknown>> }): Promise<boolean>;
  /** The try failed and another one is due. */
  retry(messageId: string, attempt: number, failure: { error: StoredError; delayMs: number }): Promise<boolean>;
  /** Not now: the run ends without counting as a failed try. */
  postpone(messageId: string, attempt: number, reason: { code: string; message: string; delayMs: number }): Promise<boolean>;
  /** Closes the job for good as a dead letter, in one transaction. `attempt` undefined: whoever holds it (it stalled). */
  bury(messageId: string, attempt: number | undefined, failure: { reason: string; error: StoredError }): Promise<boolean>;
}

/** The worker's side of the record: each run is opened and closed here. */
export interface JobLedger extends RunClosings {
  /** Opens a run. `finished`: an earlier run closed the job. `missing`: there is no such job. */
  start(messageId: string, worker: string): Promise<StartedJob | { readonly state: 'finished' | 'missing' }>;
  /**
   * Opens the runs of those messages that are open and that this Bull job
   * carries, with one read. Nothing is written: who closes a run first has it,
   * and its history then begins with this start. The runs are closed through
   * `closings`; what is closed in one turn of the event loop shares a statement.
   */
  startCarried(messageIds: readonly string[], carrier: string, worker: string): Promise<{ jobs: ReadonlyMap<string, StartedJob>; closings: RunClosings }>;
}

/** Runs that are closed in one statement at most. */
const MAX_GATHERED = 500;

/** Appends one or two entries to the history, keeping the newest 100: a job that is postponed for a day must not grow its row without bound. */
const APPEND = (entries: string) =>
  `history = (CASE WHEN jsonb_array_length(history) + jsonb_array_length(${entries}::jsonb) <= 100 THEN history WHEN jsonb_array_length(${entries}::jsonb) = 1 THEN history - 0 ELSE history - 0 - 0 END) || ${entries}::jsonb`;

/** How one run ends, as a row of the statement that closes many. */
interface Closing {
  readonly id: string;
  readonly attempt: number;
  /** The attempts on record as this run last saw them: a different number there means that another run came after it. */
  readonly seen: number;
  readonly status: 'done' | 'skipped' | 'retrying';
  readonly failed: 0 | 1;
  readonly result: unknown;
  readonly error: unknown;
  readonly delay: number | null;
  /** The job runs again by a Bull job of its own. */
  readonly alone: boolean;
  readonly startedAt: string | null;
  readonly entries: readonly HistoryEntry[];
}

/** The ledger over `backhaul.jobs`. Every write names the attempt, so a superseded worker's write changes nothing. */
export function createJobLedger(database: Database): JobLedger {
  const close = gather<Closing, boolean>({ max: MAX_GATHERED, keyOf: ({ id }) => id, run: (items) => closeRuns(database, items) });
  return {
    async start(messageId, worker) {
      const { rows } = await database.query<Omit<StartedJob, 'state'>>(
        `UPDATE backhaul.jobs SET status = 'active', attempts = attempts + 1, started_at = coalesce(started_at, now()), due_at = NULL, updated_at = now(), ${APPEND('$2')}
         WHERE message_id = $1 AND finished_at IS NULL
         RETURNING name, payload, attempts AS attempt, failures, traceparent, received_at AS "receivedAt", started_at AS "firstStartedAt"`,
        [messageId, storable([entry('started', { worker })])],
      );
      if (rows[0] !== undefined) return { state: 'started', ...rows[0] };
      const { rows: found } = await database.query('SELECT 1 FROM backhaul.jobs WHERE message_id = $1', [messageId]);
      return { state: found.length > 0 ? 'finished' : 'missing' };
    },
    async startCarried(messageIds, carrier, worker) {
      const startedAt = new Date();
      const { rows } = await database.query<Omit<StartedJob, 'state' | 'firstStartedAt'> & { messageId: string; startedAt: Date | null }>(
        `SELECT message_id AS "messageId", name, payload, attempts + 1 AS attempt, failures, traceparent, received_at AS "receivedAt", started_at AS "startedAt"
         FROM backhaul.jobs WHERE message_id = ANY($1::text[]) AND finished_at IS NULL AND carrier = $2`,
        [messageIds, carrier],
      );
      const jobs = new Map(rows.map((row) => [row.messageId, { ...row, state: 'started' as const, firstStartedAt: row.startedAt ?? startedAt }]));
      return { jobs, closings: closings({ at: startedAt.toISOString(), event: 'started', worker }) };
    },
    ...closings(),
  };

  /** `unwritten`: the start that is not on record yet, and goes there with the end. */
  function closings(unwritten?: HistoryEntry): RunClosings {
    const run = (messageId: string, attempt: number, end: HistoryEntry) => ({
      id: messageId,
      attempt,
      seen: unwritten === undefined ? attempt : attempt - 1,
      startedAt: unwritten?.at ?? null,
      entries: unwritten === undefined ? [end] : [unwritten, end],
    });
    return {
      finish: (messageId, attempt, { status, result }) =>
        close({ ...run(messageId, attempt, entry('finished', { attempt, status })), status, failed: 0, result, error: null, delay: null, alone: false }),
      retry: (messageId, attempt, { error, delayMs }) =>
        close({
          ...run(messageId, attempt, entry('failed', { attempt, code: error.code, message: error.message, retryInMs: delayMs })),
          ...{ status: 'retrying', failed: 1, result: null, error, delay: delayMs, alone: true },
        }),
      postpone: (messageId, attempt, { code, message, delayMs }) =>
        close({
          ...run(messageId, attempt, entry('postponed', { attempt, code, message, retryInMs: delayMs })),
          // Handed back, it stays with its neighbours: the whole Bull job runs again at once.
          ...{ status: 'retrying', failed: 0, result: null, error: null, delay: delayMs, alone: delayMs > 0 },
        }),
      bury: (messageId, attempt, { reason, error }) =>
        database.transaction((client) => {
          const end = entry('finished', { attempt, status: 'dead', reason, message: error.message });
          return buryJob(client, attempt === undefined ? { ...run(messageId, 0, end), attempt: null } : run(messageId, attempt, end), { reason, error });
        }),
    };
  }
}

function entry(event: HistoryEntry['event'], details: Readonly<Record<string, unknown>>): HistoryEntry {
  return { at: new Date().toISOString(), event, ...details };
}

async function closeRuns(database: Database, closings: readonly Closing[]): Promise<boolean[]> {
  const { rows } = await database.query<{ id: string }>(
    `UPDATE backhaul.jobs SET status = c.status, attempts = c.attempt, failures = failures + c.failed, result = coalesce(c.result, jobs.result),
       error = CASE WHEN c.status = 'retrying' THEN coalesce(c.error, jobs.error) END, started_at = coalesce(started_at, c."startedAt"),
       due_at = CASE WHEN c.status = 'retrying' THEN now() + c.delay * interval '1 millisecond' END,
       finished_at = CASE WHEN c.status <> 'retrying' THEN now() END, carrier = CASE WHEN NOT c.alone THEN carrier END, updated_at = now(), ${APPEND('c.entries')}
     FROM json_to_recordset($1::json) AS c(id text, attempt int, seen int, status text, failed int, result jsonb, error jsonb, delay float8, alone bool, "startedAt" timestamptz, entries jsonb)
     WHERE message_id = c.id AND attempts = c.seen AND finished_at IS NULL
     RETURNING message_id AS id`,
    [storable(closings)],
  );
  const closed = new Set(rows.map(({ id }) => id));
  return closings.map(({ id }) => closed.has(id));
}

/** `attempt` null: whoever holds it. */
async function buryJob(
  client: Queryable,
  run: Pick<Closing, 'id' | 'seen' | 'startedAt' | 'entries'> & { readonly attempt: number | null },
  { reason, error }: { reason: string; error: StoredError },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `UPDATE backhaul.jobs SET status = 'dead', attempts = coalesce($2, attempts), failures = failures + 1, error = $4, started_at = coalesce(started_at, $5),
       finished_at = now(), updated_at = now(), ${APPEND('$6')}
     WHERE message_id = $1 AND ($2::int IS NULL OR attempts = $3) AND finished_at IS NULL`,
    [run.id, run.attempt, run.seen, storable(error), run.startedAt, storable(run.entries)],
  );
  if (rowCount === 1) await insertDeadJob(client, run.id, reason);
  return rowCount === 1;
}
