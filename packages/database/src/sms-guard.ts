import type { Database } from './database.ts';
import { maskedNumber, numberHash } from './sms-number.ts';

/** Who must not be texted, and how often the others were. Numbers are E.164; the tables hold hashes of them. */
export interface SmsGuard {
  isOptedOut(number: string): Promise<boolean>;
  /** For good. Twice is once. */
  optOut(number: string): Promise<void>;
  /**
   * Counts a send unless the number had `limit` of its class within the window
   * that ends now. A message that was counted stays allowed, so that its later
   * tries cost nothing. `retryAfterMs` tells when the oldest leaves the window.
   */
  take(number: string, options: { class: string; messageId: string; limit: number; windowMs: number }): Promise<{ allowed: boolean; retryAfterMs: number }>;
  /** Those of the provider's ids that belong to effects which were claimed at about `claimedAt` and are confirmed. */
  confirmedAmong(providerIds: readonly string[], claimedAt: Date): Promise<ReadonlySet<string>>;
  /** When the message was accepted; undefined when there is no record of it. */
  receivedAt(messageId: string): Promise<Date | undefined>;
}

/** The tables `backhaul.sms_opt_outs` and `backhaul.sms_limits`. */
export function createSmsGuard(database: Database): SmsGuard {
  return {
    async isOptedOut(number) {
      const { rowCount } = await database.query('SELECT 1 FROM backhaul.sms_opt_outs WHERE number_hash = $1', [numberHash(number)]);
      return rowCount > 0;
    },
    async optOut(number) {
      await database.query('INSERT INTO backhaul.sms_opt_outs (number_hash, masked_number) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
        numberHash(number),
        maskedNumber(number),
      ]);
    },
    async take(number, { class: textClass, messageId, limit, windowMs }) {
      // One statement: takers of the same number are ordered by the row's lock, so that two of them never share the last place.
      const { rows } = await database.query<{ allowed: boolean; retry_after_ms: number }>(
        `INSERT INTO backhaul.sms_limits AS l (number_hash, class, message_ids, taken_at)
         VALUES ($1, $2, ARRAY[$3::text], ARRAY[clock_timestamp()])
         ON CONFLICT (number_hash, class) DO UPDATE SET (message_ids, taken_at, updated_at) = (
           WITH kept AS (
             SELECT id, at FROM unnest(l.message_ids, l.taken_at) AS pair (id, at) WHERE at > clock_timestamp() - $5 * interval '1 millisecond'
           ), counted AS (
             SELECT id, at FROM kept
             UNION ALL
             SELECT $3::text, clock_timestamp() WHERE (SELECT count(*) FROM kept) < $4 AND NOT EXISTS (SELECT 1 FROM kept WHERE id = $3::text)
           )
           SELECT coalesce(array_agg(id ORDER BY at), '{}'), coalesce(array_agg(at ORDER BY at), '{}'), now() FROM counted)
         RETURNING $3::text = ANY (message_ids) AS allowed,
           coalesce(extract(epoch FROM taken_at[1] - clock_timestamp()) * 1000 + $5, 0)::float8 AS retry_after_ms`,
        [numberHash(number), textClass, messageId, limit, windowMs],
      );
      const row = rows[0];
      if (row === undefined) throw new Error('the limits of text messages returned no row');
      return { allowed: row.allowed, retryAfterMs: Math.ceil(row.retry_after_ms) };
    },
    async confirmedAmong(providerIds, claimedAt) {
      // Between two times, for the index by time: one by the provider's id would cost every push a write.
      const { rows } = await database.query<{ provider_id: string }>(
        `SELECT provider_id FROM backhaul.effects
         WHERE created_at BETWEEN $2::timestamptz - interval '2 minutes' AND $2::timestamptz + interval '2 minutes' AND provider_id = ANY ($1)`,
        [providerIds, claimedAt],
      );
      return new Set(rows.map((row) => row.provider_id));
    },
    async receivedAt(messageId) {
      const { rows } = await database.query<{ received_at: Date }>('SELECT received_at FROM backhaul.jobs WHERE message_id = $1', [messageId]);
      return rows[0]?.received_at;
    },
  };
}
