import { createHash } from 'node:crypto';
import type { Database } from './database.ts';
import { gather } from './gather.ts';
import { type MailLine, takePlace } from './mail-line.ts';

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

/** Mails that one statement speaks of at most. */
const MAX_GATHERED = 500;

interface Take {
  readonly messageId: string;
  readonly perMinute: number;
  readonly waits: boolean;
}

interface Note {
  readonly key: string;
  readonly provider: string;
}

/**
 * The tables `mail_suppressions`, `mail_limits` and `mail_slots`, and the
 * provider of an effect. What is asked in one turn of the event loop, by the
 * mails of one envelope, shares a statement.
 */
export function createMailGuard(database: Database): MailGuard {
  const suppressed = gather<Buffer, boolean>({ max: MAX_GATHERED, keyOf: (each) => each.toString('hex'), run: (hashes) => suppressedAmong(database, hashes) });
  const take = gather<Take, { allowed: boolean; retryAfterMs: number }>({
    max: MAX_GATHERED,
    keyOf: ({ messageId }) => messageId,
    run: (takes) => takeAll(database, takes),
  });
  const note = gather<Note, boolean>({ max: MAX_GATHERED, keyOf: ({ key }) => key, run: (notes) => noteAll(database, notes) });
  return {
    isSuppressed: (address) => suppressed(hash(address)),
    async suppress(address, { reason, code }) {
      await insert(database, address, reason, code);
    },
    take: (messageId, options) => take({ messageId, ...options }),
    note: (key, provider) => note({ key, provider }),
    async noted(effectKey) {
      const { rows } = await database.query<{ provider: string | null }>('SELECT provider FROM backhaul.effects WHERE effect_key = $1', [effectKey]);
      return rows[0]?.provider ?? undefined;
    },
  };
}

async function suppressedAmong(database: Database, hashes: readonly Buffer[]): Promise<boolean[]> {
  const { rows } = await database.query<{ address_hash: Buffer }>(
    'SELECT address_hash FROM backhaul.mail_suppressions WHERE address_hash = ANY ($1::bytea[])',
    [hashes],
  );
  const found = new Set(rows.map((row) => row.address_hash.toString('hex')));
  return hashes.map((each) => found.has(each.toString('hex')));
}

async function noteAll(database: Database, notes: readonly Note[]): Promise<boolean[]> {
  const { rows } = await database.query<{ key: string }>(
    `UPDATE backhaul.effects SET provider = n.provider FROM json_to_recordset($1::json) AS n(key text, provider text)
     WHERE effect_key = n.key AND state = 'claimed' RETURNING effect_key AS key`,
    [JSON.stringify(notes)],
  );
  const noted = new Set(rows.map(({ key }) => key));
  return notes.map(({ key }) => noted.has(key));
}

/** Of one mail in line: its place. */
interface Slot {
  readonly messageId: string;
  readonly dueMs: number;
}

/** All of them in one transaction: the row's lock orders the takers of all workers, and is held for as long as three statements take. */
function takeAll(database: Database, takes: readonly Take[]): Promise<{ allowed: boolean; retryAfterMs: number }[]> {
  return database.transaction(async (client) => {
    const { rows } = await client.query<MailLine & { nowMs: number }>(
      `SELECT ${epochMs('clock_timestamp()')} AS "nowMs", ${epochMs('next_at')} AS "nextMs", ${epochMs('late_at')} AS "lateMs", ${epochMs('pace_at')} AS "paceMs"
       FROM backhaul.mail_limits WHERE name = 'mail' FOR UPDATE`,
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the row of the dispatch limit is missing: backhaul.mail_limits');
    const { rows: slots } = await client.query<Slot>(
      `SELECT message_id AS "messageId", ${epochMs('due_at')} AS "dueMs" FROM backhaul.mail_slots WHERE message_id = ANY ($1)`,
      [takes.map(({ messageId }) => messageId)],
    );
    const held = new Map(slots.map(({ messageId, dueMs }) => [messageId, dueMs]));
    const { nowMs, ...before } = row;
    let line: MailLine = before;
    const left: string[] = [];
    const placed: Slot[] = [];
    const answers = takes.map(({ messageId, perMinute, waits }) => {
      const slotMs = held.get(messageId);
      const taken = takePlace(line, { nowMs, slotMs, waits, perMinute });
      line = taken.line;
      if (taken.slotMs === undefined) {
        if (slotMs !== undefined) left.push(messageId);
        return { allowed: true, retryAfterMs: 0 };
      }
      if (taken.slotMs !== slotMs) placed.push({ messageId, dueMs: taken.slotMs });
      return { allowed: false, retryAfterMs: Math.max(1, Math.ceil(taken.slotMs - nowMs)) };
    });
    await client.query(`UPDATE backhaul.mail_limits SET next_at = ${moment('$1')}, late_at = ${moment('$2')}, pace_at = ${moment('$3')} WHERE name = 'mail'`, [
      line.nextMs,
      line.lateMs,
      line.paceMs,
    ]);
    if (left.length > 0) await client.query('DELETE FROM backhaul.mail_slots WHERE message_id = ANY ($1)', [left]);
    if (placed.length > 0) {
      await client.query(
        `INSERT INTO backhaul.mail_slots (message_id, due_at)
         SELECT "messageId", ${moment('"dueMs"')} FROM json_to_recordset($1::json) AS placed("messageId" text, "dueMs" float8)
         ON CONFLICT (message_id) DO UPDATE SET due_at = excluded.due_at`,
        [JSON.stringify(placed)],
      );
      await client.query(FORGET);
    }
    return answers;
  });
}

const epochMs = (expression: string) => `(extract(epoch FROM ${expression}) * 1000)::float8`;
const moment = (expression: string) => `to_timestamp(${expression}::float8 / 1000)`;

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
