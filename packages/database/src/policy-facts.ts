import type { Database } from './database.ts';
import { gather } from './gather.ts';

/** One notification about which something is to be decided. */
export interface PolicyRequest {
  readonly messageId: string;
  readonly userId: string;
  readonly channel: string;
  readonly category?: string | undefined;
  readonly chatId?: string | undefined;
  readonly chatMessageId?: string | undefined;
  readonly senderId?: string | undefined;
}

/** What is on record about it. */
export interface PolicyFacts {
  /** Null: there is no record of the job. */
  readonly receivedAt: Date | null;
  readonly withdrawn: boolean;
  /** What the user chose for the category, else for the whole channel; null: nothing. */
  readonly enabled: boolean | null;
  readonly senderBlocked: boolean;
  readonly leftChat: boolean;
  readonly messageDeleted: boolean;
  readonly readUpTo: Date | null;
  /** The chat's mute; `until` null: for good. */
  readonly muted: boolean;
  readonly mutedUntil: Date | null;
  readonly mutedExceptMentions: boolean | null;
  /** Whether the app is open anywhere. */
  readonly active: boolean;
  readonly quietWindows: readonly { readonly startMinute: number; readonly endMinute: number; readonly days: readonly number[]; readonly timeZone: string }[];
}

/** For how long it is remembered whether the chat app's table is there. */
const lookAgainMs = 60_000;

/** Questions that one statement answers at most. */
const maxGathered = 500;

/** Reads what decisions are made from. The answers are in the order of the questions; all that is asked in one turn of the event loop shares a statement. */
export function createPolicyFacts(database: Database): (requests: readonly PolicyRequest[]) => Promise<readonly PolicyFacts[]> {
  let looked: { at: number; there: Promise<boolean> } | undefined;
  const chatTableIsThere = (): Promise<boolean> => {
    if (looked !== undefined && Date.now() - looked.at < lookAgainMs) return looked.there;
    const there = hasMessages(database);
    looked = { at: Date.now(), there };
    // A failure is not remembered.
    there.catch(() => (looked = undefined));
    return there;
  };
  const read = async (requests: readonly PolicyRequest[]): Promise<readonly PolicyFacts[]> => {
    const withMessages = requests.some(({ chatMessageId }) => chatMessageId !== undefined) && (await chatTableIsThere());
    const asked = requests.map((each, n) => ({
      n,
      m: each.messageId,
      u: each.userId,
      c: each.channel,
      k: each.category ?? 'all',
      h: each.chatId ?? '',
      g: each.chatMessageId ?? '',
      s: each.senderId,
    }));
    const { rows } = await database.query<PolicyFacts>(statement(withMessages), [JSON.stringify(asked)]);
    if (rows.length !== requests.length) throw new Error(`the policy's facts have ${rows.length} rows for ${requests.length} questions`);
    return rows;
  };
  const ask = gather<PolicyRequest, PolicyFacts>({
    max: maxGathered,
    keyOf: ({ messageId, userId, channel }) => `${messageId} ${channel} ${userId}`,
    run: read,
  });
  return (requests) => Promise.all(requests.map((request) => ask(request)));
}

/** The chat app's `messages`, if an unqualified name finds it and it has what is asked. */
async function hasMessages(database: Database): Promise<boolean> {
  const { rows } = await database.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM pg_attribute
     WHERE attrelid = to_regclass('messages') AND NOT attisdropped
       AND (attname IN ('sender_id', 'deleted_at') OR (attname = 'id' AND atttypid = 'uuid'::regtype))`,
  );
  return rows[0]?.count === 3;
}

function statement(withMessages: boolean): string {
  const sender = withMessages ? 'coalesce(a.s, msg.sender_id::text)' : 'a.s';
  // The ids of others are no uuids: looked for as none, not refused.
  const messages = withMessages ? `LEFT JOIN messages msg ON msg.id = CASE WHEN a.g ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN a.g::uuid END` : '';
  return `SELECT j.received_at AS "receivedAt",
      EXISTS (SELECT 1 FROM backhaul.withdrawals w WHERE w.user_id = a.u AND w.chat_id IN ('', a.h) AND w.chat_message_id IN ('', a.g)
        AND (w.chat_message_id <> '' OR j.received_at <= w.withdrawn_at) AND (w.reason <> 'logged_out' OR a.c = 'push')) AS withdrawn,
      (SELECT p.enabled FROM backhaul.notification_preferences p WHERE p.user_id = a.u AND p.channel = a.c AND p.category IN (a.k, 'all')
        ORDER BY p.category = 'all' LIMIT 1) AS enabled,
      EXISTS (SELECT 1 FROM backhaul.blocked_users b WHERE b.user_id = a.u AND b.blocked_user_id = ${sender}) AS "senderBlocked",
      EXISTS (SELECT 1 FROM backhaul.left_chats l WHERE l.user_id = a.u AND l.chat_id = a.h) AS "leftChat",
      ${withMessages ? 'msg.deleted_at IS NOT NULL' : 'false'} AS "messageDeleted",
      r.up_to AS "readUpTo",
      c.user_id IS NOT NULL AS muted, c.until AS "mutedUntil", c.except_mentions AS "mutedExceptMentions",
      EXISTS (SELECT 1 FROM backhaul.presence o WHERE o.user_id = a.u AND o.active_until > now()) AS active,
      coalesce((SELECT json_agg(json_build_object('startMinute', q.start_minute, 'endMinute', q.end_minute, 'days', q.days, 'timeZone', q.time_zone))
        FROM backhaul.quiet_hours q WHERE q.user_id = a.u), '[]') AS "quietWindows"
    FROM json_to_recordset($1::json) AS a(n int, m text, u text, c text, k text, h text, g text, s text)
    LEFT JOIN backhaul.jobs j ON j.message_id = a.m
    LEFT JOIN backhaul.read_marks r ON r.user_id = a.u AND r.chat_id = a.h
    LEFT JOIN backhaul.chat_mutes c ON c.user_id = a.u AND c.chat_id = a.h
    ${messages}
    ORDER BY a.n`;
}
