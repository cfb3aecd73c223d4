import type { Database } from './database.ts';

/** Where a mail is. */
export const EMAIL_STATUSES = ['pending', 'retrying', 'sent', 'failed', 'skipped'] as const;
export type EmailStatus = (typeof EMAIL_STATUSES)[number];

/** A mail as operators see it: without its words, and of its address only enough to recognise it. */
export interface QueuedEmail {
  readonly messageId: string;
  readonly recipient: string | null;
  readonly template: string | null;
  readonly status: EmailStatus;
  readonly attempts: number;
  /** The stable word for what went wrong last, or why it was not sent. */
  readonly error: string | null;
  /** Given up, and not at the first try. */
  readonly failedAfterRetries: boolean;
  /** Which provider it was given to, and its id there. */
  readonly provider: string | null;
  readonly providerId: string | null;
  readonly nextAttemptAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** The mails on record. */
export interface EmailQueue {
  /** The newest first, after the one with this message id. */
  list(options: { limit: number; status?: EmailStatus | undefined; after?: string | undefined }): Promise<QueuedEmail[]>;
}

const COLUMNS = `message_id AS "messageId", recipient, template, status, attempts, error, failed_after_retries AS "failedAfterRetries", provider,
  provider_id AS "providerId", next_attempt_at AS "nextAttemptAt", created_at AS "createdAt", updated_at AS "updatedAt"`;

/** One page of one of the views; in parts, because only so Postgres reads no more of the index than the page. */
const PAGE = (view: string) =>
  `(SELECT * FROM backhaul.${view} WHERE ($2::text IS NULL OR status = $2) AND ($3::timestamptz IS NULL OR (created_at, message_id) < ($3, $4))
    ORDER BY created_at DESC, message_id DESC LIMIT $1)`;

/** The view `backhaul.email_queue`. */
export function createEmailQueue(database: Database): EmailQueue {
  return {
    async list({ limit, status, after }) {
      const last = after === undefined ? undefined : await createdAt(database, after);
      // Pruned since the page before was read: nothing older is left.
      if (after !== undefined && last === undefined) return [];
      const { rows } = await database.query<QueuedEmail>(
        `SELECT ${COLUMNS} FROM (${PAGE('email_queue_jobs')} UNION ALL ${PAGE('email_queue_letters')}) emails
         ORDER BY created_at DESC, message_id DESC LIMIT $1`,
        [limit, status ?? null, last ?? null, after ?? null],
      );
      return rows;
    },
  };
}

/** As text: a Date has no microseconds, and would repeat or leave out those of the same millisecond. */
async function createdAt(database: Database, messageId: string): Promise<string | undefined> {
  const { rows } = await database.query<{ created_at: string }>('SELECT created_at::text FROM backhaul.email_queue WHERE message_id = $1 LIMIT 1', [messageId]);
  return rows[0]?.created_at;
}
