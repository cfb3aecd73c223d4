import { randomUUID } from 'node:crypto';
import { ofFew } from './by-key.ts';
import { floatColumn, textColumn, uuidColumn } from './columns.ts';
import type { Database, SqlValue } from './database.ts';
import { gather, together } from './gather.ts';
import { type InsertIfNew, insertingIfNew } from './if-new.ts';
import { type Many, createMany } from './many.ts';

/** What a worker may do about an effect that it is about to make. */
export type EffectClaim =
  /** Nobody has tried: make the effect, then `confirm` or `release` with this token. */
  | { readonly state: 'claimed'; readonly token: string }
  /** An earlier try claimed it, its lease ran out, and whether it made the effect is unknown. First claimed at `claimedAt`, now again with this token; the caller's policy decides. */
  | { readonly state: 'ambiguous'; readonly token: string; readonly claimedAt: Date }
  /** Another worker is at it until `leaseUntil`. */
  | { readonly state: 'busy'; readonly leaseUntil: Date }
  /** It was made, and confirmed at `confirmedAt`; `providerId` is what the provider called it. */
  | { readonly state: 'confirmed'; readonly providerId: string | null; readonly confirmedAt: Date }
  /** It was given up as unknown: it may or may not have been made, and must not be made again. */
  | { readonly state: 'unknown' }
  /** It was not made and is not tried again in this way; another way may be. */
  | { readonly state: 'refused'; readonly detail: string | null };

/** The ledger of effects on the outside world: claimed before they are made, confirmed after. */
export interface Effects {
  /** @param key says what is done to whom, and why: `push:<message id>:<token hash>` */
  claim(key: string, options: { messageId: string; leaseMs: number }): Promise<EffectClaim>;
  /** The same for many of them, in one statement; the answers are in their order. */
  claimAll(claims: readonly { readonly key: string; readonly messageId: string }[], options: { leaseMs: number }): Promise<readonly EffectClaim[]>;
  /** The effect was made. False when another attempt took the claim over meanwhile. */
  confirm(key: string, token: string, providerId: string | null): Promise<boolean>;
  /** The same for many of them, in one statement; the answers are in their order. */
  confirmAll(effects: readonly { readonly key: string; readonly token: string; readonly providerId: string | null }[]): Promise<readonly boolean[]>;
  /** The effect was certainly not made: the next try may claim afresh. */
  release(key: string, token: string): Promise<void>;
  /** Whether it was made cannot be known, and the policy is not to repeat it. */
  giveUp(key: string, token: string, detail: string): Promise<void>;
  /** The effect was certainly not made, and is not to be tried again in this way. False when another attempt took the claim over meanwhile. */
  refuse(key: string, token: string, detail: string): Promise<boolean>;
  /** What was confirmed turned out not to have reached anybody: from now on it counts as refused. */
  disprove(key: string, detail: string): Promise<void>;
  /** Every effect of one message. */
  of(messageId: string): Promise<readonly EffectRow[]>;
}

/** One row of the ledger, as people look it up. */
export interface EffectRow {
  readonly key: string;
  readonly state: 'claimed' | 'confirmed' | 'unknown' | 'refused';
  /** Which of several providers it was given to. */
  readonly provider: string | null;
  readonly providerId: string | null;
  readonly detail: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** How it fared at the provider afterwards; null unless the provider reports that. */
  readonly report: { readonly status: string; readonly errorCode: number | null; readonly at: Date } | null;
}

/** Effects that one statement speaks of at most. */
const MAX_GATHERED = 500;

interface Claim {
  readonly key: string;
  readonly messageId: string;
  readonly leaseMs: number;
  readonly token: string;
}

/** What happened to a claimed effect. */
interface Settlement {
  readonly key: string;
  readonly token: string;
  readonly state: 'confirmed' | 'unknown' | 'refused';
  readonly providerId: string | null;
  readonly detail: string | null;
}

/** The ledger in `backhaul.effects`. What is claimed, settled or released in one turn of the event loop shares a statement. */
export function createEffects(database: Database): Effects {
  const keyOf = ({ key }: { key: string }) => key;
  const insertIfNew = insertingIfNew('backhaul.claim_new_effects($1, $2, $3, $4)');
  const many = createMany();
  const claiming = { keyOf, run: (items: readonly Claim[]) => claimAll(database, insertIfNew, items) };
  const claim = gather<Claim, EffectClaim>({ max: MAX_GATHERED, ...claiming });
  const claimTogether = together<Claim, EffectClaim>(claiming);
  const settling = { keyOf, run: (items: readonly Settlement[]) => settleAll(database, many, items) };
  const settle = gather<Settlement, boolean>({ max: MAX_GATHERED, ...settling });
  const settleTogether = together<Settlement, boolean>(settling);
  const release = gather<Pick<Settlement, 'key' | 'token'>, void>({ max: MAX_GATHERED, keyOf, run: (items) => releaseAll(database, items) });
  return {
    claim: (key, { messageId, leaseMs }) => claim({ key, messageId, leaseMs, token: randomUUID() }),
    claimAll: (claims, { leaseMs }) => claimTogether(claims.map(({ key, messageId }) => ({ key, messageId, leaseMs, token: randomUUID() }))),
    confirmAll: (effects) => settleTogether(effects.map(({ key, token, providerId }) => ({ key, token, state: 'confirmed', providerId, detail: null }))),
    confirm: (key, token, providerId) => settle({ key, token, state: 'confirmed', providerId, detail: null }),
    release: (key, token) => release({ key, token }),
    async giveUp(key, token, detail) {
      await settle({ key, token, state: 'unknown', providerId: null, detail });
    },
    refuse: (key, token, detail) => settle({ key, token, state: 'refused', providerId: null, detail }),
    async disprove(key, detail) {
      await database.query(`UPDATE backhaul.effects SET state = 'refused', detail = $2, updated_at = now() WHERE effect_key = $1 AND state = 'confirmed'`, [
        key,
        detail,
      ]);
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

interface ClaimRow {
  readonly key: string;
  readonly state: string;
  readonly token: string;
  readonly fresh: boolean;
  readonly lease_until: Date;
  readonly provider_id: string | null;
  readonly detail: string | null;
  readonly created_at: Date;
  readonly updated_at: Date;
}

const CLAIMS = `INSERT INTO backhaul.effects AS e (effect_key, message_id, state, attempt_token, lease_until)
  SELECT key, message_id, 'claimed', token, now() + lease_ms * interval '1 millisecond'
  FROM unnest($1::text[], $2::text[], $3::uuid[], $4::float8[]) AS claims(key, message_id, token, lease_ms)`;

async function claimAll(database: Database, insertIfNew: InsertIfNew, claims: readonly Claim[]): Promise<EffectClaim[]> {
  const values = [
    textColumn(claims.map(({ key }) => key)),
    textColumn(claims.map(({ messageId }) => messageId)),
    uuidColumn(claims.map(({ token }) => token)),
    floatColumn(claims.map(({ leaseMs }) => leaseMs)),
  ];
  // Nearly always nobody has tried before: only when somebody has is it worth asking who.
  const allNew = (await insertIfNew(database, values)) || (await insertMissing(database, values)) === claims.length;
  if (allNew) return claims.map(({ token }) => ({ state: 'claimed', token }));
  // One statement: two workers that claim at the same moment are ordered by the row's lock, and one of them sees the other's lease.
  const { rows } = await database.query<ClaimRow>(
    `${CLAIMS} ON CONFLICT (effect_key) DO UPDATE SET
       attempt_token = CASE WHEN e.state = 'claimed' AND e.lease_until < now() THEN excluded.attempt_token ELSE e.attempt_token END,
       lease_until   = CASE WHEN e.state = 'claimed' AND e.lease_until < now() THEN excluded.lease_until ELSE e.lease_until END,
       updated_at    = CASE WHEN e.state = 'claimed' AND e.lease_until < now() THEN now() ELSE e.updated_at END
     RETURNING effect_key AS key, state, attempt_token AS token, (updated_at = created_at) AS fresh, lease_until, provider_id, detail, created_at, updated_at`,
    values,
  );
  const found = new Map(rows.map((row) => [row.key, row]));
  return claims.map(({ key, token }) => {
    const row = found.get(key);
    if (row === undefined) throw new Error('the effects ledger returned no row for a claim');
    return claimOf(row, token);
  });
}

/** Inserts those that are not there yet, and says how many those were. */
async function insertMissing(database: Database, values: readonly SqlValue[]): Promise<number> {
  const { rowCount } = await database.query(`${CLAIMS} ON CONFLICT (effect_key) DO NOTHING`, values, 'prepared');
  return rowCount;
}

function claimOf(row: ClaimRow, token: string): EffectClaim {
  switch (row.state) {
    case 'confirmed':
      return { state: 'confirmed', providerId: row.provider_id, confirmedAt: row.updated_at };
    case 'unknown':
      return { state: 'unknown' };
    case 'refused':
      return { state: 'refused', detail: row.detail };
    case 'claimed':
      if (row.token !== token) return { state: 'busy', leaseUntil: row.lease_until };
      return row.fresh ? { state: 'claimed', token } : { state: 'ambiguous', token, claimedAt: row.created_at };
    default:
      throw new Error(`the effects ledger holds the state ${row.state}, which this version does not know`);
  }
}

async function settleAll(database: Database, many: Many, settlements: readonly Settlement[]): Promise<boolean[]> {
  const values = [
    textColumn(settlements.map(({ key }) => key)),
    uuidColumn(settlements.map(({ token }) => token)),
    textColumn(settlements.map(({ state }) => state)),
    textColumn(settlements.map(({ providerId }) => withoutNul(providerId))),
    textColumn(settlements.map(({ detail }) => withoutNul(detail))),
  ];
  const settled = 'unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[])';
  const { rowCount } = await database.query(
    `UPDATE backhaul.effects SET state = s.state, provider_id = s.provider_id, detail = s.detail, updated_at = now()
     FROM ${settled} AS s(key, token, state, provider_id, detail)
     WHERE ${ofFew('s.key')} AND effect_key = s.key AND attempt_token = s.token AND effects.state = 'claimed'`,
    values,
    many.how,
  );
  many.add(rowCount);
  // Nearly always all of them are ours: only when some are not is it worth asking which.
  if (rowCount === settlements.length) return settlements.map(() => true);
  const { rows } = await database.query<{ place: number }>(
    `SELECT s.place::int AS place FROM ${settled} WITH ORDINALITY AS s(key, token, state, provider_id, detail, place)
     JOIN backhaul.effects e ON effect_key = s.key AND attempt_token = s.token
     WHERE ${ofFew('s.key')} AND e.state = s.state AND e.provider_id IS NOT DISTINCT FROM s.provider_id AND e.detail IS NOT DISTINCT FROM s.detail`,
    values,
  );
  const places = new Set(rows.map(({ place }) => place));
  return settlements.map((_, index) => places.has(index + 1));
}

/** What a provider says may hold anything; Postgres takes no NUL, and a send that cannot be settled would be sent again. */
function withoutNul(text: string | null): string | null {
  return text?.replaceAll('\0', '') ?? null;
}

async function releaseAll(database: Database, claims: readonly Pick<Settlement, 'key' | 'token'>[]): Promise<undefined[]> {
  await database.query(
    `DELETE FROM backhaul.effects USING unnest($1::text[], $2::uuid[]) AS r(key, token)
     WHERE ${ofFew('r.key')} AND effect_key = r.key AND attempt_token = r.token AND state = 'claimed'`,
    [textColumn(claims.map(({ key }) => key)), uuidColumn(claims.map(({ token }) => token))],
  );
  return claims.map(() => undefined);
}
