import type { Database, Queryable } from './database.ts';

/** A preference: for one category, or for all that have none of their own. */
export interface Preference {
  readonly channel: string;
  readonly category: string;
  readonly enabled: boolean;
}

/** A muted chat; `until` null: for good. */
export interface ChatMute {
  readonly chatId: string;
  readonly until: Date | null;
  readonly exceptMentions: boolean;
}

/** Quiet hours: minutes since local midnight, and the weekdays on which they start (1 is Monday). */
export interface QuietHours {
  readonly timeZone: string;
  readonly windows: readonly { readonly startMinute: number; readonly endMinute: number; readonly days: readonly number[] }[];
}

/** What users chose about their notifications, and what the chat app tells about them. */
export interface UserPolicy {
  preferences(userId: string): Promise<readonly Preference[]>;
  setPreference(userId: string, preference: Preference): Promise<void>;
  /** False when there was none. */
  removePreference(userId: string, channel: string, category: string): Promise<boolean>;
  mutes(userId: string): Promise<readonly ChatMute[]>;
  mute(userId: string, mute: ChatMute): Promise<void>;
  unmute(userId: string, chatId: string): Promise<boolean>;
  quietHours(userId: string): Promise<QuietHours | undefined>;
  /** Replaces those that there were. */
  setQuietHours(userId: string, hours: QuietHours): Promise<void>;
  removeQuietHours(userId: string): Promise<boolean>;
  leftChats(userId: string): Promise<readonly string[]>;
  leaveChat(userId: string, chatId: string): Promise<void>;
  /** The user is in the chat again. */
  joinChat(userId: string, chatId: string): Promise<boolean>;
  blockedUsers(userId: string): Promise<readonly string[]>;
  block(userId: string, blockedUserId: string): Promise<void>;
  unblock(userId: string, blockedUserId: string): Promise<boolean>;
  /** The user has read the chat up to this moment. A mark never goes back. */
  markRead(userId: string, chatId: string, upTo: Date): Promise<void>;
  /** The user has the app open on this device, until then at the latest. */
  setActive(userId: string, deviceId: string, until: Date): Promise<void>;
  setInactive(userId: string, deviceId: string): Promise<boolean>;
}

/** The tables `notification_preferences`, `chat_mutes`, `quiet_hours`, `left_chats`, `blocked_users`, `read_marks` and `presence`. */
export function createUserPolicy(database: Database): UserPolicy {
  const removed = async (sql: string, values: readonly string[]) => (await database.query(sql, values)).rowCount > 0;
  return {
    async preferences(userId) {
      const { rows } = await database.query<Preference>(
        'SELECT channel, category, enabled FROM backhaul.notification_preferences WHERE user_id = $1 ORDER BY channel, category',
        [userId],
      );
      return rows;
    },
    async setPreference(userId, { channel, category, enabled }) {
      await database.query(
        `INSERT INTO backhaul.notification_preferences (user_id, channel, category, enabled) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id, channel, category) DO UPDATE SET enabled = excluded.enabled, updated_at = now()`,
        [userId, channel, category, enabled],
      );
    },
    removePreference: (userId, channel, category) =>
      removed('DELETE FROM backhaul.notification_preferences WHERE user_id = $1 AND channel = $2 AND category = $3', [userId, channel, category]),
    async mutes(userId) {
      const { rows } = await database.query<ChatMute>(
        `SELECT chat_id AS "chatId", until, except_mentions AS "exceptMentions" FROM backhaul.chat_mutes
         WHERE user_id = $1 AND (until IS NULL OR until > now()) ORDER BY chat_id`,
        [userId],
      );
      return rows;
    },
    async mute(userId, { chatId, until, exceptMentions }) {
      await database.query(
        `INSERT INTO backhaul.chat_mutes (user_id, chat_id, until, except_mentions) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id, chat_id) DO UPDATE SET until = excluded.until, except_mentions = excluded.except_mentions, updated_at = now()`,
        [userId, chatId, until, exceptMentions],
      );
    },
    unmute: (userId, chatId) => removed('DELETE FROM backhaul.chat_mutes WHERE user_id = $1 AND chat_id = $2', [userId, chatId]),
    async quietHours(userId) {
      const { rows } = await database.query<{ startMinute: number; endMinute: number; days: number[]; timeZone: string }>(
        `SELECT start_minute AS "startMinute", end_minute AS "endMinute", days, time_zone AS "timeZone"
         FROM backhaul.quiet_hours WHERE user_id = $1 ORDER BY position`,
        [userId],
      );
      const first = rows[0];
      if (first === undefined) return undefined;
      return { timeZone: first.timeZone, windows: rows.map(({ timeZone: _, ...window }) => window) };
    },
    async setQuietHours(userId, { timeZone, windows }) {
      await database.transaction(async (client) => {
        await lockUser(client, userId);
        await client.query('DELETE FROM backhaul.quiet_hours WHERE user_id = $1', [userId]);
        await client.query(
          `INSERT INTO backhaul.quiet_hours (user_id, position, start_minute, end_minute, days, time_zone)
           SELECT $1, position, "startMinute", "endMinute", days, $3
           FROM json_to_recordset($2::json) AS w(position int, "startMinute" int, "endMinute" int, days smallint[])`,
          [userId, JSON.stringify(windows.map((window, position) => ({ position, ...window }))), timeZone],
        );
      });
    },
    removeQuietHours: (userId) => removed('DELETE FROM backhaul.quiet_hours WHERE user_id = $1', [userId]),
    async leftChats(userId) {
      const { rows } = await database.query<{ id: string }>('SELECT chat_id AS id FROM backhaul.left_chats WHERE user_id = $1 ORDER BY chat_id', [userId]);
      return rows.map(({ id }) => id);
    },
    async leaveChat(userId, chatId) {
      await database.query('INSERT INTO backhaul.left_chats (user_id, chat_id) VALUES ($1, $2) ON CONFLICT DO NOTHING', [userId, chatId]);
    },
    joinChat: (userId, chatId) => removed('DELETE FROM backhaul.left_chats WHERE user_id = $1 AND chat_id = $2', [userId, chatId]),
    async blockedUsers(userId) {
      const { rows } = await database.query<{ id: string }>(
        'SELECT blocked_user_id AS id FROM backhaul.blocked_users WHERE user_id = $1 ORDER BY blocked_user_id',
        [userId],
      );
      return rows.map(({ id }) => id);
    },
    async block(userId, blockedUserId) {
      await database.query('INSERT INTO backhaul.blocked_users (user_id, blocked_user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING', [userId, blockedUserId]);
    },
    unblock: (userId, blockedUserId) => removed('DELETE FROM backhaul.blocked_users WHERE user_id = $1 AND blocked_user_id = $2', [userId, blockedUserId]),
    async markRead(userId, chatId, upTo) {
      await database.query(
        `INSERT INTO backhaul.read_marks AS r (user_id, chat_id, up_to) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, chat_id) DO UPDATE SET up_to = excluded.up_to, updated_at = now() WHERE r.up_to < excluded.up_to`,
        [userId, chatId, upTo],
      );
    },
    async setActive(userId, deviceId, until) {
      await database.query(
        `INSERT INTO backhaul.presence (user_id, device_id, active_until) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, device_id) DO UPDATE SET active_until = excluded.active_until`,
        [userId, deviceId, until],
      );
    },
    setInactive: (userId, deviceId) => removed('DELETE FROM backhaul.presence WHERE user_id = $1 AND device_id = $2', [userId, deviceId]),
  };
}

/** Two requests that replace the same rows take turns: each would otherwise delete what it sees and both insert. */
async function lockUser(client: Queryable, userId: string): Promise<void> {
  await client.query(`SELECT pg_advisory_xact_lock(hashtextextended('quiet hours ' || $1, 0))`, [userId]);
}
