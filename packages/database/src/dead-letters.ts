import type { Database, Queryable } from './database.ts';
import type { HistoryEntry, StoredError } from './history.ts';

/** A message that the bridge could not make a job of. */
export interface PoisonMessage {
  readonly messageId: string;
  readonly queue: string;
  readonly routingKey: string;
  /** A stable word: invalid_json, schema, unknown_type, too_large, too_deep, forbidden_key, id_conflict, delivery_limit .. */
  readonly reason: string;
  readonly message: string;
  readonly bodyHead: Buffer;
  readonly bodyBytes: number;
  readonly bodyHash: Buffer;
}

/** A dead letter as people look it up. */
export interface DeadLetter {
  readonly id: number;
  readonly messageId: string;
  readonly source: 'bridge' | 'worker';
  readonly queue: string;
  readonly routingKey: string | null;
  readonly name: string | null;
  readonly reason: string;
  readonly error: StoredError;
  readonly bodyHead: Buffer | null;
  readonly bodyBytes: number | null;
  readonly payload: unknown;
  readonly history: readonly HistoryEntry[] | null;
  readonly attempts: number;
  readonly seen: number;
  readonly createdAt: Date;
  readonly retriedAt: Date | null;
}

/** What could not be done. */
export interface DeadLetters {
  /** Stores poison from the bridge. A message that comes again after a crash is counted, not stored twice. */
  poison(messages: readonly PoisonMessage[]): Promise<void>;
  /** The newest first; `includeRetried` also shows those that were tried again. */
  list(options: { queue?: string; limit: number; beforeId?: number; includeRetried?: boolean }): Promise<DeadLetter[]>;
  find(id: number): Promise<DeadLetter | undefined>;
  /** Every dead letter of one message, the newest first. */
  of(messageId: string): Promise<DeadLetter[]>;
  /**
   * Opens a dead job again: its row goes back to `queued` with no failures, or
   * is made anew from the dead letter when it was pruned. Undefined, and
   * nothing is changed, when there is no such open dead letter or the job is
   * not dead any more.
   */
  reopen(id: number): Promise<{ messageId: string; queue: string; name: string; priority: number; traceparent: string | null } | undefined>;
  /**
   * Notes that a dead message of the bridge was published again. Changes
   * nothing when it has died again since `seen` was read: it is open then.
   */
  markRetried(id: number, seen: number): Promise<void>;
  /** Open dead letters by queue and reason. */
  counts(): Promise<{ queue: string; reason: string; count: number }[]>;
  /** Deletes dead letters that were retried and are older than the retention. Returns how many. */
  prune(options: { olderThanMs: number; batchSize: number; signal?: AbortSignal }): Promise<number>;
}

const COLUMNS = `id::int AS id, message_id AS "messageId", source, queue, routing_key AS "routingKey", name, reason, error, body_head AS "bodyHead", body_bytes AS "bodyBytes",
  payload, history, attempts, seen, created_at AS "createdAt", retried_at AS "retriedAt"`;

/** The dead letters in `backhaul.dead_letters`. */
export function createDeadLetters(database: Database): DeadLetters {
  return {
    async poison(messages) {
      if (messages.length === 0) return;
      // One row per key in a statement, or Postgres refuses to update a row twice (21000); in one order everywhere, or two bridges deadlock.
      const byKey = new Map(messages.map((m) => [`${m.messageId} ${m.reason} ${m.bodyHash.toString('hex')}`, m]));
      const unique = [...byKey].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([, m]) => m);
      await database.query(
        `INSERT INTO backhaul.dead_letters AS d (message_id, source, queue, routing_key, reason, error, body_head, body_bytes, body_hash)
         SELECT m, 'bridge', q, k, r, e, h, b, s FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::bytea[], $7::int[], $8::bytea[]) AS t(m, q, k, r, e, h, b, s)
         ON CONFLICT (message_id, source, reason, body_hash) DO UPDATE SET seen = d.seen + 1, last_seen_at = now(), retried_at = NULL`,
        [
          unique.map((m) => m.messageId),
          unique.map((m) => m.queue),
          unique.map((m) => m.routingKey),
          unique.map((m) => m.reason),
          unique.map((m) => JSON.stringify({ name: 'PoisonMessage', code: m.reason, message: m.message })),
          unique.map((m) => m.bodyHead),
          unique.map((m) => m.bodyBytes),
          unique.map((m) => m.bodyHash),
        ],
      );
    },
    async list({ queue, limit, beforeId, includeRetried = false }) {
      const { rows } = await database.query<DeadLetter>(
        `SELECT ${COLUMNS} FROM backhaul.dead_letters
         WHERE ($1::text IS NULL OR queue = $1) AND ($2::bigint IS NULL OR id < $2) AND ($3 OR retried_at IS NULL)
         ORDER BY id DESC LIMIT $4`,
        [queue ?? null, beforeId ?? null, includeRetried, limit],
      );
      return rows;
    },
    async find(id) {
      const { rows } = await database.query<DeadLetter>(`SELECT ${COLUMNS} FROM backhaul.dead_letters WHERE id = $1`, [id]);
      return rows[0];
    },
    async of(messageId) {
      const { rows } = await database.query<DeadLetter>(`SELECT ${COLUMNS} FROM backhaul.dead_letters WHERE message_id = $1 ORDER BY id DESC`, [messageId]);
      return rows;
    },
    reopen: (id) =>
      database.transaction(async (client) => {
        const { rows: marked } = await client.query<{ message_id: string }>(
          `UPDATE backhaul.dead_letters SET retried_at = now() WHERE id = $1 AND source = 'worker' AND retried_at IS NULL RETURNING message_id`,
          [id],
        );
        const messageId = marked[0]?.message_id;
        if (messageId === undefined) return undefined;
        // Jobs are pruned after a while, dead letters stay until somebody looks. Its urgency is forgotten: the lowest will do by now.
        await client.query(
          `INSERT INTO backhaul.jobs (message_id, queue, name, priority, body_hash, payload, status, history)
           SELECT message_id, queue, name, 1, body_hash, payload, 'dead', coalesce(history, '[]') FROM backhaul.dead_letters WHERE id = $1
           ON CONFLICT (message_id) DO NOTHING`,
          [id],
        );
        const { rows } = await client.query<{ messageId: string; queue: string; name: string; priority: number; traceparent: string | null }>(
          `UPDATE backhaul.jobs SET status = 'queued', failures = 0, error = NULL, started_at = NULL, finished_at = NULL, due_at = NULL, carrier = NULL, updated_at = now(),
             history = history || jsonb_build_array(jsonb_build_object('at', now(), 'event', 'requeued', 'deadLetterId', $2::bigint))
           WHERE message_id = $1 AND status = 'dead'
           RETURNING message_id AS "messageId", queue, name, priority, traceparent`,
          [messageId, id],
        );
        // The job lives or was done meanwhile: a dead letter marked as retried would say that this call did it.
        if (rows[0] === undefined) await client.query('UPDATE backhaul.dead_letters SET retried_at = NULL WHERE id = $1', [id]);
        return rows[0];
      }),
    async markRetried(id, seen) {
      await database.query('UPDATE backhaul.dead_letters SET retried_at = now() WHERE id = $1 AND seen = $2', [id, seen]);
    },
    async counts() {
      const { rows } = await database.query<{ queue: string; reason: string; count: number }>(
        'SELECT queue, reason, count(*)::int AS count FROM backhaul.dead_letters WHERE retried_at IS NULL GROUP BY queue, reason ORDER BY queue, reason',
      );
      return rows;
    },
    async prune({ olderThanMs, batchSize, signal }) {
      let deleted = 0;
      while (!signal?.aborted) {
        const { rowCount } = await database.query(
          `DELETE FROM backhaul.dead_letters WHERE ctid = ANY(ARRAY(
             SELECT ctid FROM backhaul.dead_letters WHERE retried_at < now() - $1 * interval '1 millisecond' LIMIT $2 FOR UPDATE SKIP LOCKED))`,
          [olderThanMs, batchSize],
        );
        deleted += rowCount;
        if (rowCount < batchSize) break;
      }
      return deleted;
    },
  };
}

/** Writes the dead letter of a job that failed for good, on the connection that closes the job's row. */
export async function insertDeadJob(client: Queryable, messageId: string, reason: string): Promise<void> {
  await client.query(
    `INSERT INTO backhaul.dead_letters AS d (message_id, source, queue, name, reason, error, body_hash, payload, history, attempts)
     SELECT message_id, 'worker', queue, name, $2, coalesce(error, '{}'), body_hash, payload, history, attempts FROM backhaul.jobs WHERE message_id = $1
     ON CONFLICT (message_id, source, reason, body_hash) DO UPDATE SET
       seen = d.seen + 1, last_seen_at = now(), retried_at = NULL, error = excluded.error, history = excluded.history, attempts = excluded.attempts`,
    [messageId, reason],
  );
}
