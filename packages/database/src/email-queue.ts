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

/** The view `backhaul.email_queue`. */
export function createEmailQueue(database: Database): EmailQueue {
  return {
    async list({ limit, status, after }) {
      const { rows } = await database.query<QueuedEmail>(
        `SELECT message_id AS "messageId", recipient, template, status, attempts, error, failed_after_retries AS "failedAfterRetries", provider,
           provider_id AS "providerId", next_attempt_at AS "nextAttemptAt", created_at AS "createdAt", updated_at AS "updatedAt"
         FROM backhaul.email_queue
         WHERE ($2::text IS NULL OR status = $2)
           AND ($3::text IS NULL OR (created_at, message_id) < (SELECT created_at, message_id FROM backhaul.email_queue WHERE message_id = $3 LIMIT 1))
         ORDER BY created_at DESC, message_id DESC LIMIT $1`,
        [limit, status ?? null, after ?? null],
      );
      return rows;
    },
  };
}
