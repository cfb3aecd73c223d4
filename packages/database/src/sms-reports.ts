import type { Database } from './database.ts';
import { maskedNumber, numberHash } from './sms-number.ts';

/** The states of a message at the provider, each with how far along it is. */
const RANKS = { accepted: 0, scheduled: 0, queued: 1, sending: 2, sent: 3, delivered: 4, read: 5, undelivered: 6, failed: 6, canceled: 6 } as const;

/** How a message fared, in the provider's words. */
export type SmsStatus = keyof typeof RANKS;

/** Every state that is kept. */
export const smsStatuses = Object.keys(RANKS) as readonly SmsStatus[];

/** A report about one message. */
export interface SmsReport {
  readonly providerId: string;
  readonly status: SmsStatus;
  readonly errorCode: number | null;
  /** Stands for the send that made the message; null when the report does not say. */
  readonly sendHash: string | null;
  /** The number (E.164) that must not be texted any more, when that is the reason. */
  readonly optOut: string | null;
}

/** What was reported of the message of one send. */
export interface ReportedSend {
  readonly providerId: string;
  readonly status: SmsStatus;
  readonly errorCode: number | null;
  /** It reached the phone, or was read there. */
  readonly arrived: boolean;
  /** It ended without arriving. */
  readonly undelivered: boolean;
}

/** What the provider of text messages reports by itself. Whatever comes twice or late changes nothing. */
export interface SmsReports {
  /** False when it was known, or when more is known already: what arrived does not become undelivered, and what failed does not arrive. */
  status(report: SmsReport): Promise<boolean>;
  /** A person's STOP or START, by the provider's id of their message. False when that message was heard before. */
  keyword(keyword: { providerId: string; number: string; optsOut: boolean }): Promise<boolean>;
  /** How the message of a send fared, as far as it was reported. */
  ofSend(sendHash: string): Promise<ReportedSend | undefined>;
}

/** The tables `backhaul.sms_statuses` and `backhaul.sms_keywords`, and what they mean for `backhaul.sms_opt_outs`. */
export function createSmsReports(database: Database): SmsReports {
  return {
    async status({ providerId, status, errorCode, sendHash, optOut }) {
      const { rowCount } = await database.query(
        `WITH changed AS (
           INSERT INTO backhaul.sms_statuses AS s (provider_id, send_hash, status, rank, error_code) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (provider_id) DO UPDATE SET
             status = excluded.status, rank = excluded.rank, error_code = excluded.error_code,
             send_hash = coalesce(s.send_hash, excluded.send_hash), updated_at = now()
           WHERE excluded.rank > s.rank AND NOT (s.rank >= ${RANKS.delivered} AND excluded.rank = ${RANKS.failed})
           RETURNING 1
         ), noted AS (
           INSERT INTO backhaul.sms_opt_outs (number_hash, masked_number) SELECT $6::bytea, $7::text FROM changed WHERE $6 IS NOT NULL ON CONFLICT DO NOTHING
         )
         SELECT FROM changed`,
        [providerId, sendHash, status, RANKS[status], errorCode, optOut === null ? null : numberHash(optOut), optOut === null ? null : maskedNumber(optOut)],
      );
      return rowCount === 1;
    },
    async keyword({ providerId, number, optsOut }) {
      const { rowCount } = await database.query(
        `WITH fresh AS (
           INSERT INTO backhaul.sms_keywords (provider_id, number_hash, opts_out) VALUES ($1, $2, $4) ON CONFLICT DO NOTHING RETURNING 1
         ), noted AS (
           INSERT INTO backhaul.sms_opt_outs (number_hash, masked_number) SELECT $2, $3 FROM fresh WHERE $4 ON CONFLICT DO NOTHING
         ), lifted AS (
           DELETE FROM backhaul.sms_opt_outs WHERE number_hash = $2 AND NOT $4 AND EXISTS (SELECT FROM fresh)
         )
         SELECT FROM fresh`,
        [providerId, numberHash(number), maskedNumber(number), optsOut],
      );
      return rowCount === 1;
    },
    async ofSend(sendHash) {
      const { rows } = await database.query<ReportedSend>(
        `SELECT provider_id AS "providerId", status, error_code AS "errorCode",
           rank >= ${RANKS.delivered} AND rank < ${RANKS.failed} AS arrived, rank = ${RANKS.failed} AS undelivered
         FROM backhaul.sms_statuses WHERE send_hash = $1 ORDER BY created_at LIMIT 1`,
        [sendHash],
      );
      return rows[0];
    },
  };
}
