import { IS_OPEN, ofFew } from './by-key.ts';
import { boolColumn, floatColumn, intColumn, jsonbColumn, textColumn, timeColumn } from './columns.ts';
import type { Database, Queryable } from './database.ts';
import { insertDeadJob } from './dead-letters.ts';
import { gather, together } from './gather.ts';
import type { HistoryEntry, StoredError } from './history.ts';
import { type Many, createMany } from './many.ts';
import { type DoneRow, wereDone, whichOf } from './which-done.ts';
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

/** The end of a run in which nothing went wrong. */
export interface RunFinish {
  readonly status: 'done' | 'skipped';
  readonly result: Readonly<Record<string, unknown>>;
}

/** How runs are closed. Each answers false when another run has taken over or the job was closed meanwhile. */
export interface RunClosings {
  /** Closes the job as done or skipped. */
  finish(messageId: string, attempt: number, outcome: RunFinish): Promise<boolean>;
  /** The same for many, in one statement; the answers are in their order. A value that Postgres refuses fails all of them. */
  finishAll(finishes: readonly (RunFinish & { readonly messageId: string; readonly attempt: number })[]): Promise<readonly boolean[]>;
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
  /** These jobs, of those that this Bull job carries, are not carried any more: a later run of it leaves them out. */
  leaveCarrier(messageIds: readonly string[], carrier: string): Promise<void>;
}

/** Runs that are closed in one statement at most. */
const MAX_GATHERED = 500;

/** Appends one or two entries to the history, keeping the newest 100: a job that is postponed for a day must not grow its row without bound. */
const APPEND = (entries: string) =>
  `history = (CASE WHEN jsonb_array_length(history) <= 98 OR jsonb_array_length(history) + jsonb_array_length(${entries}::jsonb) <= 100 THEN history WHEN jsonb_array_length(${entries}::jsonb) = 1 THEN history - 0 ELSE history - 0 - 0 END) || ${entries}::jsonb`;

/** How one run ends, as a row of the statement that closes many. */
interface Closing {
  readonly id: string;
  readonly attempt: number;
  /** The attempts on record as this run last saw them: a different number there means that another run came after it. */
  readonly seen: number;
  readonly status: 'done' | 'skipped' | 'retrying';
  readonly result: unknown;
  /** Set where the try counts as a failed one. */
  readonly error: StoredError | null;
  readonly delay: number | null;
  /** The job runs again by a Bull job of its own. */
  readonly alone: boolean;
  readonly startedAt: Date | null;
  /** The runs that end in the same way at the same moment share one list. */
  readonly entries: readonly HistoryEntry[];
}

/** An open job as the statement that opens an envelope reads it. */
interface CarriedRow {
  readonly messageId: string;
  readonly name: string;
  readonly payload: unknown;
  /** Null: none. */
  readonly attempts: number | null;
  readonly failures: number | null;
  readonly traceparent: string | null;
  readonly receivedSeconds: number;
  readonly startedAt: Date | null;
}

/** The ledger over `backhaul.jobs`. Every write names the attempt, so a superseded worker's write changes nothing. */
export function createJobLedger(database: Database): JobLedger {
  const many = createMany();
  const statement = { keyOf: ({ id }: Closing) => id, run: (items: readonly Closing[]) => closeRuns(database, many, items) };
  const close = gather<Closing, boolean>({ max: MAX_GATHERED, ...statement });
  const closeAll = together<Closing, boolean>(statement);
  return {
    async start(messageId, worker) {
      const { rows } = await database.query<Omit<StartedJob, 'state'>>(
        `UPDATE backhaul.jobs SET status = 'active', attempts = attempts + 1, started_at = coalesce(started_at, now()), due_at = NULL, updated_at = now(), ${APPEND('$2')}
         WHERE message_id = $1 AND ${IS_OPEN}
         RETURNING name, payload, attempts AS attempt, failures, traceparent, received_at AS "receivedAt", started_at AS "firstStartedAt"`,
        [messageId, storable([entry('started', { worker })])],
      );
      if (rows[0] !== undefined) return { state: 'started', ...rows[0] };
      const { rows: found } = await database.query('SELECT 1 FROM backhaul.jobs WHERE message_id = $1', [messageId]);
      return { state: found.length > 0 ? 'finished' : 'missing' };
    },
    async startCarried(messageIds, carrier, worker) {
      const startedAt = new Date();
      const { rows } = await database.query<CarriedRow>(
        // Seconds instead of a time: as text, which pg then parses, that is a fifth of the statement. What is null costs next to nothing.
        `SELECT message_id AS "messageId", name, payload, nullif(attempts, 0) AS attempts, nullif(failures, 0) AS failures, traceparent,
           date_part('epoch', received_at) AS "receivedSeconds", started_at AS "startedAt"
         FROM unnest($1::text[]) AS asked(id) JOIN backhaul.jobs ON message_id = asked.id
         WHERE ${ofFew('asked.id')} AND ${IS_OPEN} AND carrier = $2`,
        [textColumn(messageIds), carrier],
        many.how,
      );
      // In the order of their ids: that is the order in which statements about them lock their rows.
      rows.sort((left, right) => (left.messageId < right.messageId ? -1 : 1));
      const jobs = new Map<string, StartedJob>();
      for (const { messageId, name, payload, attempts, failures, traceparent, receivedSeconds, startedAt: before } of rows) {
        const receivedAt = new Date(Math.round(receivedSeconds * 1_000_000) / 1_000);
        const counts = { attempt: (attempts ?? 0) + 1, failures: failures ?? 0 };
        jobs.set(messageId, { state: 'started', name, payload, ...counts, traceparent, receivedAt, firstStartedAt: before ?? startedAt });
      }
      return { jobs, closings: closings({ at: startedAt, worker }) };
    },
    async leaveCarrier(messageIds, carrier) {
      await database.query(
        `UPDATE backhaul.jobs SET carrier = NULL, updated_at = now()
         FROM unnest($1::text[]) AS leaving(id) WHERE ${ofFew('leaving.id')} AND message_id = leaving.id AND ${IS_OPEN} AND carrier = $2`,
        [textColumn(messageIds), carrier],
      );
    },
    ...closings(),
  };

  /** `unwritten`: the start that is not on record yet, and goes there with the end. */
  function closings(unwritten?: { readonly at: Date; readonly worker: string }): RunClosings {
    const start = unwritten === undefined ? [] : [{ at: unwritten.at.toISOString(), event: 'started', worker: unwritten.worker } as const];
    const run = (messageId: string, attempt: number, entries: readonly HistoryEntry[]) => ({
      id: messageId,
      attempt,
      seen: unwritten === undefined ? attempt : attempt - 1,
      startedAt: unwritten?.at ?? null,
      entries,
    });
    let latest: { readonly at: number; readonly attempt: number; readonly status: string; readonly entries: readonly HistoryEntry[] } | undefined;
    const finished = (attempt: number, status: 'done' | 'skipped') => {
      const at = Date.now();
      if (latest?.at !== at || latest.attempt !== attempt || latest.status !== status)
        latest = { at, attempt, status, entries: [...start, entry('finished', { attempt, status })] };
      return latest.entries;
    };
    const finish = (messageId: string, attempt: number, { status, result }: RunFinish): Closing => ({
      id: messageId,
      attempt,
      seen: unwritten === undefined ? attempt : attempt - 1,
      status,
      result,
      error: null,
      delay: null,
      alone: false,
      startedAt: unwritten?.at ?? null,
      entries: finished(attempt, status),
    });
    return {
      finish: (messageId, attempt, outcome) => close(finish(messageId, attempt, outcome)),
      finishAll: (finishes) => closeAll(finishes.map((each) => finish(each.messageId, each.attempt, each))),
      retry: (messageId, attempt, { error, delayMs }) =>
        close({
          ...run(messageId, attempt, [...start, entry('failed', { attempt, code: error.code, message: error.message, retryInMs: delayMs })]),
          ...{ status: 'retrying', result: null, error, delay: delayMs, alone: true },
        }),
      postpone: (messageId, attempt, { code, message, delayMs }) =>
        close({
          ...run(messageId, attempt, [...start, entry('postponed', { attempt, code, message, retryInMs: delayMs })]),
          // Handed back, it stays with its neighbours: the whole Bull job runs again at once.
          ...{ status: 'retrying', result: null, error: null, delay: delayMs, alone: delayMs > 0 },
        }),
      bury: (messageId, attempt, { reason, error }) =>
        database.transaction((client) => {
          const entries = [...start, entry('finished', { attempt, status: 'dead', reason, message: error.message })];
          return buryJob(client, attempt === undefined ? { ...run(messageId, 0, entries), attempt: null } : run(messageId, attempt, entries), {
            reason,
            error,
          });
        }),
    };
  }
}

function entry(event: HistoryEntry['event'], details: Readonly<Record<string, unknown>>): HistoryEntry {
  return { at: new Date().toISOString(), event, ...details };
}

async function closeRuns(database: Database, many: Many, closings: readonly Closing[]): Promise<boolean[]> {
  const done = await closeFirstRuns(database, many, closings.filter(isFirstAndLast));
  const others = closings.filter((closing) => !done.has(closing));
  const answers = others.length === 0 ? [] : await closeAnyRuns(database, others);
  others.forEach((closing, index) => {
    if (answers[index] === true) done.add(closing);
  });
  return closings.map((closing) => done.has(closing));
}

/** Whether it is the end of a job's only run, as nearly all are, and its start goes on record with it. */
function isFirstAndLast({ seen, status, startedAt, entries }: Closing): boolean {
  return seen === 0 && status !== 'retrying' && startedAt !== null && entries.length === 2;
}

/** One closing for each list of entries, as nearly all runs share one of a few, and for each closing the place of its list. */
function byEntries(closings: readonly Closing[]) {
  const firsts = [...new Map(closings.map((closing) => [closing.entries, closing])).values()];
  const places = new Map(firsts.map(({ entries }, index) => [entries, index + 1]));
  return { firsts, places: intColumn(closings.map(({ entries }) => places.get(entries) ?? null)) };
}

/**
 * Closes those of these runs whose job nothing ever happened to, at two thirds of what any other end costs: there is nothing to
 * keep or to append to. Returns those that are closed; the others may be open still.
 */
async function closeFirstRuns(database: Database, many: Many, closings: readonly Closing[]): Promise<Set<Closing>> {
  if (closings.length === 0) return new Set();
  const { firsts, places } = byEntries(closings);
  const histories = jsonbColumn(firsts.map(({ entries }) => storable(entries)));
  const ids = textColumn(closings.map(({ id }) => id));
  const { rowCount } = await database.query(
    `UPDATE backhaul.jobs SET attempts = 1, history = ($1::jsonb[])[c.place], status = ($2::text[])[c.place], started_at = ($3::timestamptz[])[c.place],
       finished_at = now(), updated_at = now(), result = c.result
     FROM unnest($4::text[], $5::int[], $6::jsonb[]) AS c(id, place, result)
     WHERE ${ofFew('c.id')} AND message_id = c.id AND attempts = 0 AND ${IS_OPEN} AND history = '[]'`,
    [
      histories,
      textColumn(firsts.map(({ status }) => status)),
      timeColumn(firsts.map(({ startedAt }) => startedAt)),
      ids,
      places,
      jsonbColumn(closings.map(({ result }) => storable(result))),
    ],
    many.how,
  );
  many.add(rowCount);
  if (rowCount === closings.length) return new Set(closings);
  // The entries say which run it was: when it began and ended, and on which worker.
  const { rows } = await database.query<{ id: string }>(
    `SELECT c.id FROM unnest($2::text[], $3::int[]) AS c(id, place) JOIN backhaul.jobs ON message_id = c.id
     WHERE ${ofFew('c.id')} AND attempts = 1 AND history = ($1::jsonb[])[c.place]`,
    [histories, ids, places],
  );
  const closed = new Set(rows.map(({ id }) => id));
  return new Set(closings.filter(({ id }) => closed.has(id)));
}

async function closeAnyRuns(database: Database, closings: readonly Closing[]): Promise<boolean[]> {
  const { firsts, places } = byEntries(closings);
  const column = <Value>(of: (closing: Closing) => Value) => closings.map(of);
  const stored = (value: unknown) => (value === null ? null : storable(value));
  const { rows } = await database.query<DoneRow>(
    `WITH changed AS (
       UPDATE backhaul.jobs SET status = c.status, attempts = c.attempt, failures = failures + (c.error IS NOT NULL)::int, result = coalesce(c.result, jobs.result),
         error = CASE WHEN c.status = 'retrying' THEN coalesce(c.error, jobs.error) END, started_at = coalesce(started_at, c.began),
         due_at = CASE WHEN c.status = 'retrying' THEN now() + c.delay * interval '1 millisecond' END,
         finished_at = CASE WHEN c.status <> 'retrying' THEN now() END, carrier = CASE WHEN NOT c.alone THEN carrier END, updated_at = now(),
         ${APPEND('($1::jsonb[])[c.entries]')}
       FROM unnest($2::text[], $3::int[], $4::int[], $5::text[], $6::jsonb[], $7::jsonb[], $8::float8[], $9::bool[], $10::timestamptz[], $11::int[])
         WITH ORDINALITY AS c(id, attempt, seen, status, result, error, delay, alone, began, entries, place)
       WHERE ${ofFew('c.id')} AND message_id = c.id AND attempts = c.seen AND ${IS_OPEN}
       RETURNING c.place)
     ${whichOf('changed', closings.length)}`,
    [
      jsonbColumn(firsts.map(({ entries }) => storable(entries))),
      textColumn(column(({ id }) => id)),
      intColumn(column(({ attempt }) => attempt)),
      intColumn(column(({ seen }) => seen)),
      textColumn(column(({ status }) => status)),
      jsonbColumn(column(({ result }) => stored(result))),
      jsonbColumn(column(({ error }) => stored(error))),
      floatColumn(column(({ delay }) => delay)),
      boolColumn(column(({ alone }) => alone)),
      timeColumn(column(({ startedAt }) => startedAt)),
      places,
    ],
  );
  return wereDone(rows, closings.length);
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
     WHERE message_id = $1 AND ($2::int IS NULL OR attempts = $3) AND ${IS_OPEN}`,
    [run.id, run.attempt, run.seen, storable(error), run.startedAt, storable(run.entries)],
  );
  if (rowCount === 1) await insertDeadJob(client, run.id, reason);
  return rowCount === 1;
}
