import { randomUUID } from 'node:crypto';
import type { Database } from './database.ts';

/** What a worker may do about an effect that it is about to make. */
export type EffectClaim =
  /** Nobody has tried: make the effect, then `confirm` or `release` with this token. */
  | { readonly state: 'claimed'; readonly token: string }
  /** An earlier try claimed it, its lease ran out, and whether it made the effect is unknown. First claimed at `claimedAt`, now again with this token; the caller's policy decides. */
  | { readonly state: 'ambiguous'; readonly token: string; readonly claimedAt: Date }
  /** Another worker is at it until `leaseUntil`. */
  | { readonly state: 'busy'; readonly leaseUntil: Date }
  /** It was made; `providerId` is what the provider called it. */
  | { readonly state: 'confirmed'; readonly providerId: string | null }
  /** It was given up as unknown: it may or may not have been made, and must not be made again. */
  | { readonly state: 'unknown' };

/** The ledger of effects on the outside world: claimed before they are made, confirmed after. */
export interface Effects {
  /** @param key says what is done to whom, and why: `push:<message id>:<token hash>` */
  claim(key: string, options: { messageId: string; leaseMs: number }): Promise<EffectClaim>;
  /** The effect was made. False when another attempt took the claim over meanwhile. */
  confirm(key: string, token: string, providerId: string | null): Promise<boolean>;
  /** The effect was certainly not made: the next try may claim afresh. */
  release(key: string, token: string): Promise<void>;
  /** Whether it was made cannot be known, and the policy is not to repeat it. */
  giveUp(key: string, token: string, detail: string): Promise<void>;
  /** Every effect of one message. */
  of(messageId: string): Promise<readonly EffectRow[]>;
}

/** One row of the ledger, as people look it up. */
export interface EffectRow {
  readonly key: string;
  readonly state: 'claimed' | 'confirmed' | 'unknown';
  readonly providerId: string | null;
  readonly detail: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** How it fared at the provider afterwards; null unless the provider reports that. */
  readonly report: { readonly status: string; readonly errorCode: number | null; readonly at: Date } | null;
}

/** The ledger in `backhaul.effects`. */
export function createEffects(database: Database): Effects {
  return {
    async claim(key, { messageId, leaseMs }) {
      const token = randomUUID();
      // One statement: two workers that claim at the same moment are ordered by the row's lock, and one of them sees the other's lease.
      const { rows } = await database.query<{ state: string; token: string; fresh: boolean; lease_until: Date; provider_id: string | null; created_at: Date }>(
        `INSERT INTO backhaul.effects AS e (effect_key, message_id, state, attempt_token, lease_until)
         VALUES ($1, $2, 'claimed', $3, now() + $4 * interval '1 millisecond')
         ON CONFLICT (effect_key) DO UPDATE SET
           attempt_token = CASE WHEN e.state = 'claimed' AND e.lease_until < now() THEN excluded.attempt_token ELSE e.attempt_token END,
           lease_until   = CASE WHEN e.state = 'claimed' AND e.lease_until < now() THEN excluded.lease_until ELSE e.lease_until END,
           updated_at    = CASE WHEN e.state = 'claimed' AND e.lease_until < now() THEN now() ELSE e.updated_at END
         RETURNING state, attempt_token AS token, (xmax = 0) AS fresh, lease_until, provider_id, created_at`,
        [key, messageId, token, leaseMs],
      );
      const row = rows[0];
      if (row === undefined) throw new Error('the effects ledger returned no row for a claim');
      switch (row.state) {
        case 'confirmed':
          return { state: 'confirmed', providerId: row.provider_id };
        case 'unknown':
          return { state: 'unknown' };
        case 'claimed':
          if (row.token !== token) return { state: 'busy', leaseUntil: row.lease_until };
          return row.fresh ? { state: 'claimed', token } : { state: 'ambiguous', token, claimedAt: row.created_at };
        default:
          throw new Error(`the effects ledger holds the state ${row.state}, which this version does not know`);
      }
    },
    async confirm(key, token, providerId) {
      const { rowCount } = await database.query(
        `UPDATE backhaul.effects SET state = 'confirmed', provider_id = $3, updated_at = now() WHERE effect_key = $1 AND attempt_token = $2 AND state = 'claimed'`,
        [key, token, providerId],
      );
      return rowCount === 1;
    },
    async release(key, token) {
      await database.query(`DELETE FROM backhaul.effects WHERE effect_key = $1 AND attempt_token = $2 AND state = 'claimed'`, [key, token]);
    },
    async giveUp(key, token, detail) {
      await database.query(
        `UPDATE backhaul.effects SET state = 'unknown', detail = $3, updated_at = now() WHERE effect_key = $1 AND attempt_token = $2 AND state = 'claimed'`,
        [key, token, detail],
      );
    },
    async of(messageId) {
      const { rows } = await database.query<EffectRow & { status: string | null; errorCode: number | null; reportedAt: Date }>(
        `SELECT effect_key AS key, state, e.provider_id AS "providerId", detail, e.created_at AS "createdAt", e.updated_at AS "updatedAt",
           s.status, s.error_code AS "errorCode", s.updated_at AS "reportedAt"
         FROM backhaul.effects e LEFT JOIN backhaul.sms_statuses s USING (provider_id) WHERE message_id = $1 ORDER BY e.created_at`,
        [messageId],
      );
      return rows.map(({ status, errorCode, reportedAt, ...row }) => ({ ...row, report: status === null ? null : { status, errorCode, at: reportedAt } }));
    },
  };
}
