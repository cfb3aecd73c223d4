import { IS_OPEN, ofFew } from './by-key.ts';
import { bytesColumn, intColumn, jsonColumn, textColumn } from './columns.ts';
import type { Database, Queryable, SqlValue } from './database.ts';
import type { HistoryEntry, StoredError } from './history.ts';
import { type InsertIfNew, insertingIfNew } from './if-new.ts';

/** Where a job is in its life. `queued`, `active` and `retrying` are open; the rest is for good. */
export type JobStatus = 'queued' | 'active' | 'retrying' | 'done' | 'skipped' | 'cancelled' | 'dead';

/** A job about to be accepted. */
export interface NewJob {
  readonly messageId: string;
  readonly queue: string;
  readonly name: string;
  /** Larger is more urgent. */
  readonly priority: number;
  /** sha256 of routing key and canonical payload. */
  readonly bodyHash: Buffer;
  /** The payload as JSON text: it is stored, never looked into, on the way in. */
  readonly payloadJson: string;
  readonly traceparent: string | null;
  /** The Bull job that is to carry it together with others; one of its own if not given. */
  readonly carrier?: string | null;
}

/** What happened to one job when a batch was recorded. */
export type RecordOutcome =
  /** It is new, or an earlier run recorded it without finishing: put it in the queue. `carrier` is the one on record. */
  | { readonly state: 'open'; readonly carrier: string | null }
  /** `finished`: it is recorded and finished, nothing to do. `conflict`: the message id is taken by a different body. */
  | { readonly state: 'finished' | 'conflict' };

/** A recorded job as the reconciler and the producers need it. */
export interface OpenJob {
  readonly messageId: string;
  readonly queue: string;
  readonly name: string;
  readonly priority: number;
  readonly traceparent: string | null;
  /** The Bull job that carries it together with others, if any. */
  readonly carrier: string | null;
}

/** Everything that is known of a job. */
export interface JobRow extends OpenJob {
  readonly status: JobStatus;
  readonly tenant: string | null;
  readonly payload: unknown;
  readonly attempts: number;
  readonly failures: number;
  readonly result: unknown;
  readonly error: StoredError | null;
  readonly history: readonly HistoryEntry[];
  readonly receivedAt: Date;
  readonly startedAt: Date | null;
  readonly dueAt: Date | null;
  readonly finishedAt: Date | null;
  readonly updatedAt: Date;
}

/** The record of accepted jobs. */
export interface Jobs {
  /**
   * Records a batch in one statement; the outcomes are in the batch's order.
   * A message id that occurs twice in the batch is recorded once; its second
   * body, if different, is a conflict.
   */
  record(batch: readonly NewJob[]): Promise<RecordOutcome[]>;
  /** One page of open jobs that nobody touched for `idleMs`, in order of arrival after the message `after`, or from the first if that is empty. */
  idle(options: { idleMs: number; after: string; limit: number }): Promise<OpenJob[]>;
  /** Of these, the ones that are still open; they are carried as said from now on, and their idle time starts anew. */
  carry(jobs: readonly Pick<OpenJob, 'messageId' | 'carrier'>[]): Promise<Set<string>>;
  find(messageId: string): Promise<JobRow | undefined>;
  /** One page of open jobs in order of arrival after the message `after`, or from the first if that is empty. As dear as there are open jobs, never as there are finished ones. */
  open(options: { queue?: string; status?: JobStatus; after: string; limit: number }): Promise<JobRow[]>;
  /** Open jobs and the oldest one's age, by queue and status. */
  summary(): Promise<{ queue: string; status: JobStatus; count: number; oldestSeconds: number }[]>;
  /** Deletes finished jobs older than the retention, in small batches. Returns how many. */
  prune(options: { olderThanMs: number; batchSize: number; signal?: AbortSignal }): Promise<number>;
}

const COLUMNS = `message_id AS "messageId", queue, name, tenant, status, priority, payload, traceparent, carrier, attempts, failures, result, error, history,
  received_at AS "receivedAt", started_at AS "startedAt", due_at AS "dueAt", finished_at AS "finishedAt", updated_at AS "updatedAt"`;

/** After the message $1 in the order of arrival; a message that is pruned ends the walk, the next one begins at the first. */
const AFTER = `($1 = '' OR (received_at, message_id) > (SELECT last.received_at, last.message_id FROM backhaul.jobs last WHERE last.message_id = $1))`;

/** The record in `backhaul.jobs`. */
export function createJobs(database: Database): Jobs {
  const insertIfNew = insertingIfNew('backhaul.record_new_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9)');
  return {
    record: (batch) => recordJobs(database, batch, insertIfNew),
    async idle({ idleMs, after, limit }) {
      const { rows } = await database.query<OpenJob>(
        `SELECT message_id AS "messageId", queue, name, priority, traceparent, carrier FROM backhaul.jobs
         WHERE finished_at IS NULL AND ${AFTER}
           AND updated_at < now() - $2 * interval '1 millisecond' AND (due_at IS NULL OR due_at < now() - $2 * interval '1 millisecond')
         ORDER BY received_at, message_id LIMIT $3`,
        [after, idleMs, limit],
      );
      return rows;
    },
    async carry(jobs) {
      const { rows } = await database.query<{ message_id: string }>(
        // Locked in one order: the reconcilers of two bridges walk the same rows.
        `UPDATE backhaul.jobs j SET carrier = held.carrier, updated_at = now() FROM (
           SELECT message_id, batch.carrier FROM backhaul.jobs JOIN unnest($1::text[], $2::text[]) AS batch(message_id, carrier) USING (message_id)
           WHERE ${ofFew('batch.message_id')} AND ${IS_OPEN} ORDER BY message_id FOR UPDATE OF jobs) held
         WHERE j.message_id = held.message_id
         RETURNING j.message_id`,
        [jobs.map(({ messageId }) => messageId), jobs.map(({ carrier }) => carrier)],
      );
      return new Set(rows.map((row) => row.message_id));
    },
    async find(messageId) {
      const { rows } = await database.query<JobRow>(`SELECT ${COLUMNS} FROM backhaul.jobs WHERE message_id = $1`, [messageId]);
      return rows[0];
    },
    async open({ queue, status, after, limit }) {
      const { rows } = await database.query<JobRow>(
        `SELECT ${COLUMNS} FROM backhaul.jobs
         WHERE finished_at IS NULL AND ${AFTER} AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR status = $3)
         ORDER BY received_at, message_id LIMIT $4`,
        [after, queue ?? null, status ?? null, limit],
      );
      return rows;
    },
    async summary() {
      const { rows } = await database.query<{ queue: string; status: JobStatus; count: number; oldestSeconds: number }>(
        `SELECT queue, status, count(*)::int AS count, coalesce(extract(epoch FROM now() - min(received_at)), 0)::float AS "oldestSeconds"
         FROM backhaul.jobs WHERE finished_at IS NULL GROUP BY queue, status ORDER BY queue, status`,
      );
      return rows;
    },
    async prune({ olderThanMs, batchSize, signal }) {
      let deleted = 0;
      while (!signal?.aborted) {
        // received_at first: it is what the BRIN index can skip by. finished_at keeps a job that took long for as long again.
        const { rowCount } = await database.query(
          `DELETE FROM backhaul.jobs WHERE ctid = ANY(ARRAY(
             SELECT ctid FROM backhaul.jobs
             WHERE received_at < now() - $1 * interval '1 millisecond' AND finished_at < now() - $1 * interval '1 millisecond'
             LIMIT $2 FOR UPDATE SKIP LOCKED))`,
          [olderThanMs, batchSize],
        );
        deleted += rowCount;
        if (rowCount < batchSize) break;
      }
      return deleted;
    },
  };
}

/** Records a batch on any connection: the scheduler does it inside the transaction that notes its run. */
export async function recordJobs(client: Queryable, batch: readonly NewJob[], insertIfNew?: InsertIfNew): Promise<RecordOutcome[]> {
  // In one order everywhere: two batches that hold the same messages (a redelivery to another bridge) would otherwise deadlock.
  const sorted = batch.toSorted((left, right) => (left.messageId < right.messageId ? -1 : left.messageId > right.messageId ? 1 : 0));
  // Of those with the same id the first of the batch is the first here.
  const jobs = sorted.filter(({ messageId }, index) => sorted[index - 1]?.messageId !== messageId);
  const { kinds, places } = byKind(jobs);
  const values = [
    textColumn(kinds.map(({ queue }) => queue)),
    textColumn(kinds.map(({ name }) => name)),
    intColumn(kinds.map(({ priority }) => priority)),
    textColumn(kinds.map(({ carrier }) => carrier ?? null)),
    textColumn(jobs.map(({ messageId }) => messageId)),
    intColumn(places),
    bytesColumn(jobs.map(({ bodyHash }) => bodyHash)),
    jsonColumn(jobs.map(({ payloadJson }) => payloadJson)),
    textColumn(jobs.map(({ traceparent }) => traceparent)),
  ];
  const allNew = (await insertIfNew?.(client, values)) === true || (await insertMissing(client, values)) === jobs.length;
  // Nearly always all of them are new, each once: only when some are not is it worth asking which.
  if (allNew && jobs.length === batch.length) return batch.map(({ carrier }) => ({ state: 'open', carrier: carrier ?? null }));
  const stored: ReadonlyMap<string, StoredJob> = allNew
    ? new Map(jobs.map((job) => [job.messageId, { bodyHash: job.bodyHash, finished: false, carrier: job.carrier ?? null }]))
    : await storedJobs(client, jobs);
  return batch.map((job) => {
    const row = stored.get(job.messageId);
    // Pruned between the two statements: it was finished long ago.
    if (row === undefined) return { state: 'finished' };
    if (!row.bodyHash.equals(job.bodyHash)) return { state: 'conflict' };
    return row.finished ? { state: 'finished' } : { state: 'open', carrier: row.carrier };
  });
}

/** What is the same for many jobs of a batch, once each, and for each job its place, from 1, in that. */
function byKind(jobs: readonly NewJob[]): { kinds: NewJob[]; places: number[] } {
  const placeOf = new Map<string, number>();
  const kinds: NewJob[] = [];
  const places = jobs.map((job) => {
    const kind = `${job.queue} ${job.name} ${job.priority} ${job.carrier ?? ''}`;
    let place = placeOf.get(kind);
    if (place === undefined) {
      place = kinds.push(job);
      placeOf.set(kind, place);
    }
    return place;
  });
  return { kinds, places };
}

/** Inserts those that are not there yet, and says how many those were. */
async function insertMissing(client: Queryable, values: readonly SqlValue[]): Promise<number> {
  const { rowCount } = await client.query(
    `INSERT INTO backhaul.jobs (message_id, queue, name, priority, carrier, body_hash, payload, traceparent)
     SELECT j.id, ($1::text[])[j.kind], ($2::text[])[j.kind], ($3::int[])[j.kind], ($4::text[])[j.kind], j.hash, j.payload, j.traceparent
     FROM unnest($5::text[], $6::int[], $7::bytea[], $8::json[], $9::text[]) AS j(id, kind, hash, payload, traceparent)
     ON CONFLICT (message_id) DO NOTHING`,
    values,
    'prepared',
  );
  return rowCount;
}

interface StoredJob {
  readonly bodyHash: Buffer;
  readonly finished: boolean;
  readonly carrier: string | null;
}

/** What is on record under the ids of these jobs. */
async function storedJobs(client: Queryable, jobs: readonly NewJob[]): Promise<Map<string, StoredJob>> {
  const { rows } = await client.query<StoredJob & { messageId: string }>(
    `SELECT message_id AS "messageId", body_hash AS "bodyHash", finished_at IS NOT NULL AS finished, carrier
     FROM unnest($1::text[]) AS asked(id) JOIN backhaul.jobs ON message_id = asked.id WHERE ${ofFew('asked.id')}`,
    [textColumn(jobs.map((job) => job.messageId))],
  );
  return new Map(rows.map((row) => [row.messageId, row]));
}
