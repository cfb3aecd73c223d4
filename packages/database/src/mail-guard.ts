import { createHash } from 'node:crypto';
import type { Database } from './database.ts';
import { takePlace } from './mail-line.ts';

/** Why an address is mailed no more. */
export type SuppressionReason = 'hard_bounce' | 'complaint' | 'manual';

/** An address that is not mailed. */
export interface MailSuppression {
  /** sha256 of the address, in hex. */
  readonly id: string;
  readonly maskedAddress: string;
  readonly reason: SuppressionReason;
  readonly code: string | null;
  readonly createdAt: Date;
}

/** Who must not be mailed, how fast the others may be, and which provider got which mail. */
export interface MailGuard {
  isSuppressed(address: string): Promise<boolean>;
  /** Until somebody takes it back. The first reason is kept. */
  suppress(address: string, why: { reason: SuppressionReason; code?: string | undefined }): Promise<void>;
  /**
   * Takes a place in the line of all workers. Without a line the mail may go
   * at once; else it has a place, and may go when it asks again at that time.
   * One that does not wait moves the line on all the same.
   */
  take(messageId: string, options: { perMinute: number; waits: boolean }): Promise<{ allowed: boolean; retryAfterMs: number }>;
  /** Notes which provider the claimed send is given to. False when another try has taken the claim over: then it must not be made. */
  note(effectKey: string, provider: string): Promise<boolean>;
  /** Who was noted last; undefined: nothing was given to anybody. */
  noted(effectKey: string): Promise<string | undefined>;
}

/** The list of suppressed addresses, for people. */
export interface MailSuppressions {
  /** The newest first. */
  list(options: { limit: number; afterId?: string | undefined; address?: string | undefined }): Promise<MailSuppression[]>;
  add(address: string, why: { reason: SuppressionReason; code?: string | undefined }): Promise<MailSuppression>;
  /** False when there is none with this id. */
  remove(id: string): Promise<boolean>;
}

/** A place that nobody came for in so long is nobody's: its mail was skipped or given up. A few at a time keep the table small. */
const FORGET = `DELETE FROM backhaul.mail_slots WHERE message_id IN (
  SELECT message_id FROM backhaul.mail_slots WHERE due_at < now() - interval '1 day' LIMIT 5 FOR UPDATE SKIP LOCKED)`;

/** The tables `mail_suppressions`, `mail_limits` and `mail_slots`, and the provider of an effect. */
export function createMailGuard(database: Database): MailGuard {
  return {
    async isSuppressed(address) {
      const { rowCount } = await database.query('SELECT 1 FROM backhaul.mail_suppressions WHERE address_hash = $1', [hash(address)]);
      return rowCount > 0;
    },
    async suppress(address, { reason, code }) {
      await insert(database, address, reason, code);
    },
    take: (messageId, { perMinute, waits }) =>
      database.transaction(async (client) => {
        const { rows } = await client.query<{ nowMs: number; nextMs: number; lateMs: number; paceMs: number; slotMs: number | null }>(
          // The row's lock orders the takers of all workers; the times are of its moment.
          `SELECT ${epochMs('clock_timestamp()')} AS "nowMs", ${epochMs('next_at')} AS "nextMs", ${epochMs('late_at')} AS "lateMs", ${epochMs('pace_at')} AS "paceMs",
             (SELECT ${epochMs('due_at')} FROM backhaul.mail_slots WHERE message_id = $1) AS "slotMs"
           FROM backhaul.mail_limits WHERE name = 'mail' FOR UPDATE`,
          [messageId],
        );
        const [row] = rows;
        if (row === undefined) throw new Error('the row of the dispatch limit is missing: backhaul.mail_limits');
        const { nowMs, slotMs, ...line } = row;
        const placed = takePlace(line, { nowMs, slotMs: slotMs ?? undefined, waits, perMinute });
        await client.query(`UPDATE backhaul.mail_limits SET next_at = ${moment(1)}, late_at = ${moment(2)}, pace_at = ${moment(3)} WHERE name = 'mail'`, [
          placed.line.nextMs,
          placed.line.lateMs,
          placed.line.paceMs,
        ]);
        if (placed.slotMs === undefined) {
          if (slotMs !== null) await client.query('DELETE FROM backhaul.mail_slots WHERE message_id = $1', [messageId]);
          return { allowed: true, retryAfterMs: 0 };
        }
        if (placed.slotMs !== slotMs) {
          await client.query(
            `INSERT INTO backhaul.mail_slots (message_id, due_at) VALUES ($1, ${moment(2)}) ON CONFLICT (message_id) DO UPDATE SET due_at = excluded.due_at`,
            [messageId, placed.slotMs],
          );
          await client.query(FORGET);
        }
        return { allowed: false, retryAfterMs: Math.max(1, Math.ceil(placed.slotMs - nowMs)) };
      }),
    async note(effectKey, provider) {
      const { rowCount } = await database.query(`UPDATE backhaul.effects SET provider = $2 WHERE effect_key = $1 AND state = 'claimed'`, [effectKey, provider]);
      return rowCount === 1;
    },
    async noted(effectKey) {
      const { rows } = await database.query<{ provider: string | null }>('SELECT provider FROM backhaul.effects WHERE effect_key = $1', [effectKey]);
      return rows[0]?.provider ?? undefined;
    },
  };
}

const epochMs = (expression: string) => `(extract(epoch FROM ${expression}) * 1000)::float8`;
const moment = (parameter: number) => `to_timestamp($${parameter}::float8 / 1000)`;

const COLUMNS = `encode(address_hash, 'hex') AS id, masked_address AS "maskedAddress", reason, code, created_at AS "createdAt"`;

/** The list in `backhaul.mail_suppressions`. */
export function createMailSuppressions(database: Database): MailSuppressions {
  return {
    async list({ limit, afterId, address }) {
      const { rows } = await database.query<MailSuppression>(
        `SELECT ${COLUMNS} FROM backhaul.mail_suppressions
         WHERE ($2::bytea IS NULL OR address_hash = $2)
           AND ($3::bytea IS NULL OR (created_at, address_hash) < (SELECT created_at, address_hash FROM backhaul.mail_suppressions WHERE address_hash = $3))
         ORDER BY created_at DESC, address_hash DESC LIMIT $1`,
        [limit, address === undefined ? null : hash(address), afterId === undefined ? null : Buffer.from(afterId, 'hex')],
      );
      return rows;
    },
    async add(address, { reason, code }) {
      await insert(database, address, reason, code);
      const { rows } = await database.query<MailSuppression>(`SELECT ${COLUMNS} FROM backhaul.mail_suppressions WHERE address_hash = $1`, [hash(address)]);
      const [row] = rows;
      if (row === undefined) throw new Error('the suppression was removed at the moment in which it was made');
      return row;
    },
    async remove(id) {
      const { rowCount } = await database.query('DELETE FROM backhaul.mail_suppressions WHERE address_hash = $1', [Buffer.from(id, 'hex')]);
      return rowCount > 0;
    },
  };
}

async function insert(database: Database, address: string, reason: SuppressionReason, code: string | undefined): Promise<void> {
  await database.query('INSERT INTO backhaul.mail_suppressions (address_hash, masked_address, reason, code) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING', [
    hash(address),
    maskedAddress(address),
    reason,
    code ?? null,
  ]);
}

/** `a…@example.com`: enough to recognise an address that one knows. */
function maskedAddress(address: string): string {
  return `${[...address][0] ?? ''}…@${address.slice(address.lastIndexOf('@') + 1)}`;
}

/** Of the left side capitals count by the letter of RFC 5321, and at no provider. */
function hash(address: string): Buffer {
  return createHash('sha256').update(address.toLowerCase()).digest();
}
