import { createHash } from 'node:crypto';
import type { Database } from './database.ts';

/** What an app tells about the device it runs on. */
export interface DeviceRegistration {
  readonly token: string;
  readonly userId: string;
  readonly platform: 'android' | 'ios' | 'web';
  readonly locale?: string | undefined;
  readonly appVersion?: string | undefined;
  readonly sessionId?: string | undefined;
}

/** A registered device. */
export interface DeviceRow {
  readonly token: string;
  readonly userId: string;
  readonly platform: DeviceRegistration['platform'];
  readonly locale: string | null;
  readonly appVersion: string | null;
  readonly sessionId: string | null;
  /** Since when it belongs to this user. */
  readonly registeredAt: Date;
  /** When the app registered it last. */
  readonly lastSeenAt: Date;
  /** Set while the token is on probation. */
  readonly suspectSince: Date | null;
  /** The message whose refusal counted last. */
  readonly suspectMessageId: string | null;
}

/** A provider's word that a token is gone. */
export interface GoneToken {
  readonly token: string;
  readonly messageId: string;
  /** How long ago the send began that was answered so. A duration and not a time: no clock but the database's decides. */
  readonly sentMsAgo: number;
}

/** The devices of every user, and what becomes of tokens that the provider calls gone. */
export interface DeviceTokens {
  /** Adds the device or takes it over: a token belongs to who registered it last. Ends its probation. */
  register(device: DeviceRegistration): Promise<DeviceRow>;
  /** @returns how many devices were removed */
  unregister(which: { readonly token: string } | { readonly userId: string; readonly sessionId?: string | undefined }): Promise<number>;
  /** Every device of these users, in an order that stays the same. */
  ofUsers(userIds: readonly string[]): Promise<readonly DeviceRow[]>;
  /**
   * Puts tokens on probation, and deletes those that were called gone for the
   * first time at least `probationMs` ago. A token that was registered since
   * its send began is left alone: the answer was about its earlier life.
   */
  gone(tokens: readonly GoneToken[], options: { readonly probationMs: number }): Promise<{ readonly suspected: number; readonly deleted: number }>;
  /** Ends the probation of tokens that were reached; those that are not on probation, or not known, cost next to nothing. */
  reached(tokens: readonly string[]): Promise<void>;
}

const COLUMNS = `token, user_id AS "userId", platform, locale, app_version AS "appVersion", session_id AS "sessionId", registered_at AS "registeredAt",
  last_seen_at AS "lastSeenAt", suspect_since AS "suspectSince", suspect_message_id AS "suspectMessageId"`;

/** The table `backhaul.device_tokens`. */
export function createDeviceTokens(database: Database): DeviceTokens {
  return {
    async register({ token, userId, platform, locale, appVersion, sessionId }) {
      const { rows } = await database.query<DeviceRow>(
        `INSERT INTO backhaul.device_tokens AS d (token_hash, token, user_id, platform, locale, app_version, session_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (token_hash) DO UPDATE SET
           user_id = excluded.user_id, platform = excluded.platform, locale = excluded.locale, app_version = excluded.app_version,
           session_id = excluded.session_id, registered_at = CASE WHEN d.user_id = excluded.user_id THEN d.registered_at ELSE clock_timestamp() END,
           last_seen_at = clock_timestamp(), suspect_since = NULL, suspect_message_id = NULL
         RETURNING ${COLUMNS}`,
        [hash(token), token, userId, platform, locale ?? null, appVersion ?? null, sessionId ?? null],
      );
      const row = rows[0];
      if (row === undefined) throw new Error('the device tokens returned no row for a registration');
      return row;
    },
    async unregister(which) {
      const { rowCount } =
        'token' in which
          ? await database.query('DELETE FROM backhaul.device_tokens WHERE token_hash = $1', [hash(which.token)])
          : await database.query('DELETE FROM backhaul.device_tokens WHERE user_id = $1 AND ($2::text IS NULL OR session_id = $2)', [
              which.userId,
              which.sessionId ?? null,
            ]);
      return rowCount;
    },
    async ofUsers(userIds) {
      const { rows } = await database.query<DeviceRow>(`SELECT ${COLUMNS} FROM backhaul.device_tokens WHERE user_id = ANY ($1) ORDER BY user_id, token_hash`, [
        userIds,
      ]);
      return rows;
    },
    async gone(tokens, { probationMs }) {
      const told = [tokens.map(({ token }) => hash(token)), tokens.map(({ sentMsAgo }) => sentMsAgo)];
      // Two statements, and each looks again at a row that changed while it waited for it: a registration is never overtaken.
      const { rowCount: deleted } = await database.query(
        `DELETE FROM backhaul.device_tokens d USING unnest($1::bytea[], $2::float8[]) AS told (token_hash, sent_ms_ago)
         WHERE d.token_hash = told.token_hash AND d.last_seen_at < clock_timestamp() - told.sent_ms_ago * interval '1 millisecond'
           AND d.suspect_since <= clock_timestamp() - $3 * interval '1 millisecond'`,
        [...told, probationMs],
      );
      const { rowCount: suspected } = await database.query(
        `UPDATE backhaul.device_tokens d SET suspect_since = coalesce(d.suspect_since, clock_timestamp()), suspect_message_id = told.message_id
         FROM unnest($1::bytea[], $2::float8[], $3::text[]) AS told (token_hash, sent_ms_ago, message_id)
         WHERE d.token_hash = told.token_hash AND d.last_seen_at < clock_timestamp() - told.sent_ms_ago * interval '1 millisecond'`,
        [...told, tokens.map(({ messageId }) => messageId)],
      );
      return { suspected, deleted };
    },
    async reached(tokens) {
      await database.query(
        'UPDATE backhaul.device_tokens SET suspect_since = NULL, suspect_message_id = NULL WHERE token_hash = ANY ($1) AND suspect_since IS NOT NULL',
        [tokens.map(hash)],
      );
    },
  };
}

function hash(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
