import { ofFew } from './by-key.ts';
import { type Database, DatabaseUnavailable } from './database.ts';
import { gather } from './gather.ts';
import { ANY_KIND, KIND, kindsThatMatter, policyKinds } from './policy-kinds.ts';

/** One notification about which something is to be decided. */
export interface PolicyRequest {
  readonly messageId: string;
  readonly userId: string;
  readonly channel: string;
  readonly category?: string | undefined;
  readonly chatId?: string | undefined;
  readonly chatMessageId?: string | undefined;
  readonly senderId?: string | undefined;
  /** When the message was accepted, if that is known; it is looked up otherwise. */
  readonly receivedAt?: Date | undefined;
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

/** What of the chat app's own tables is asked. */
export interface PolicyFactsOptions {
  /** A session of `user_sessions` that was active within this long counts as the app being open; 0: that table is not asked. */
  readonly activeSessionMs?: number;
}

/** What there is of the chat app's tables. */
interface ChatTables {
  readonly messages: boolean;
  /** The type of `user_sessions.user_id`; null: no such table. */
  readonly sessionUserType: string | null;
}

/** For how long it is remembered which of the chat app's tables are there. */
const lookAgainMs = 60_000;

/** Questions that one statement answers at most. */
const maxGathered = 500;

/** What is known of somebody without any settings or traces. */
const nothing: PolicyFacts = {
  receivedAt: null,
  withdrawn: false,
  enabled: null,
  senderBlocked: false,
  leftChat: false,
  messageDeleted: false,
  readUpTo: null,
  muted: false,
  mutedUntil: null,
  mutedExceptMentions: null,
  active: false,
  quietWindows: [],
};

/** Reads what decisions are made from. The answers are in the order of the questions; all that is asked in one turn of the event loop shares a statement. A first statement tells of whom anything is on record, and what; a second one reads that of the others. */
export function createPolicyFacts(
  database: Database,
  { activeSessionMs = 0 }: PolicyFactsOptions = {},
): (requests: readonly PolicyRequest[]) => Promise<readonly PolicyFacts[]> {
  let looked: { at: number; tables: Promise<ChatTables> } | undefined;
  const chatTables = (): Promise<ChatTables> => {
    if (looked !== undefined && Date.now() - looked.at < lookAgainMs) return looked.tables;
    const tables = readChatTables(database);
    looked = { at: Date.now(), tables };
    // A failure is not remembered.
    tables.catch(() => (looked = undefined));
    return tables;
  };
  const read = async (requests: readonly PolicyRequest[]): Promise<readonly PolicyFacts[]> => {
    // Asked only where it can matter: a notification that names no message has nothing there.
    const named = requests.some(({ chatMessageId }) => chatMessageId !== undefined);
    const seen = activeSessionMs > 0 && requests.some(({ category }) => category !== undefined);
    const tables = named || seen ? await chatTables() : undefined;
    const asksChat = ({ category, chatMessageId }: PolicyRequest) =>
      (chatMessageId !== undefined && tables?.messages === true) || (seen && category !== undefined && tables?.sessionUserType != null);
    const known = await policyKinds(database, new Set(requests.flatMap(({ userId, receivedAt }) => (receivedAt === undefined ? [] : [userId]))));
    const kindsOf = (each: PolicyRequest) => (each.receivedAt === undefined ? ANY_KIND : kindsThatMatter(known.get(each.userId) ?? 0, each));
    const inFull = requests.filter((each) => each.receivedAt === undefined || kindsOf(each) !== 0 || asksChat(each));
    const kinds = inFull.reduce((all, each) => all | kindsOf(each), 0);
    const found =
      inFull.length === 0
        ? []
        : await readInFull(inFull, kinds, { messages: named && tables?.messages === true, sessionUserType: seen ? (tables?.sessionUserType ?? null) : null });
    const answers = new Map(inFull.map((each, index) => [each, found[index]]));
    return requests.map((each) => answers.get(each) ?? { ...nothing, receivedAt: each.receivedAt ?? null });
  };
  const readInFull = async (requests: readonly PolicyRequest[], kinds: number, tables: ChatTables): Promise<readonly PolicyFacts[]> => {
    const asked = requests.map((each, n) => ({
      n,
      m: each.messageId,
      u: each.userId,
      c: each.channel,
      k: each.category ?? 'all',
      h: each.chatId ?? '',
      g: each.chatMessageId ?? '',
      s: each.senderId,
      // Else the answer would depend on who is asked about in the same statement.
      v: each.category !== undefined,
    }));
    const { rows } = await database.query<PolicyFacts>(statement(kinds, tables), [JSON.stringify(asked), activeSessionMs]);
    if (rows.length !== requests.length) throw new Error(`the policy's facts have ${rows.length} rows for ${requests.length} questions`);
    return rows;
  };
  const ask = gather<PolicyRequest, PolicyFacts>({
    max: maxGathered,
    keyOf: ({ messageId, userId, channel }) => `${messageId} ${channel} ${userId}`,
    run: read,
  });
  const askEach = (requests: readonly PolicyRequest[]) => Promise.all(requests.map((request) => ask(request)));
  return async (requests) => {
    if (requests.length < 2 || requests.length > maxGathered) return askEach(requests);
    try {
      return await read(requests);
    } catch (error) {
      // A value that Postgres refuses must fail its own question only.
      if (error instanceof DatabaseUnavailable) throw error;
      return askEach(requests);
    }
  };
}

/** The chat app's tables as an unqualified name finds them, if they have what is asked. */
async function readChatTables(database: Database): Promise<ChatTables> {
  const { rows } = await database.query<{ table: string; column: string; type: string }>(
    `SELECT t.name AS "table", a.attname AS "column", a.atttypid::regtype::text AS type
     FROM (VALUES ('messages'), ('user_sessions')) AS t (name) JOIN pg_attribute a ON a.attrelid = to_regclass(t.name)
     WHERE NOT a.attisdropped AND a.attname IN ('id', 'sender_id', 'deleted_at', 'user_id', 'is_active', 'last_active_at')`,
  );
  const types = new Map(rows.map(({ table, column, type }) => [`${table}.${column}`, type]));
  return {
    messages: types.get('messages.id') === 'uuid' && types.has('messages.sender_id') && types.has('messages.deleted_at'),
    sessionUserType: types.has('user_sessions.is_active') && types.has('user_sessions.last_active_at') ? (types.get('user_sessions.user_id') ?? null) : null,
  };
}

const UUID = `'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'`;

/** A user's id in the type of the chat app's column, so that its index serves. An id that cannot be one is looked for as none, not refused. */
function userIdAs(type: string): string {
  if (type === 'uuid') return `CASE WHEN a.u ~* ${UUID} THEN a.u::uuid END`;
  if (type === 'bigint' || type === 'integer') return `CASE WHEN a.u ~ '^[0-9]{1,9}$' THEN a.u::${type} END`;
  return 'a.u';
}

/** Asks the tables of these kinds; of the others the answer is that there is nothing. */
function statement(kinds: number, { messages: withMessages, sessionUserType }: ChatTables): string {
  const where = (kind: number, sql: string, otherwise: string) => ((kinds & kind) === 0 ? otherwise : sql);
  const sender = withMessages ? 'coalesce(a.s, msg.sender_id::text)' : 'a.s';
  const messages = withMessages ? `LEFT JOIN messages msg ON msg.id = CASE WHEN a.g ~* ${UUID} THEN a.g::uuid END` : '';
  const present = where(KIND.presence, 'EXISTS (SELECT 1 FROM backhaul.presence o WHERE o.user_id = a.u AND o.active_until > now())', 'false');
  // $2 is named in both, or Postgres would not know its type.
  const sessions =
    sessionUserType === null
      ? 'OR $2::float8 < 0'
      : `OR a.v AND EXISTS (SELECT 1 FROM user_sessions us WHERE us.user_id = ${userIdAs(sessionUserType)} AND us.is_active
          AND us.last_active_at > now() - $2::float8 * interval '1 millisecond')`;
  const withdrawn = `EXISTS (SELECT 1 FROM backhaul.withdrawals w WHERE w.user_id = a.u AND w.chat_id IN ('', a.h) AND w.chat_message_id IN ('', a.g)
        AND (w.chat_message_id <> '' OR j.received_at <= w.withdrawn_at) AND (w.reason <> 'logged_out' OR a.c = 'push'))`;
  const enabled = `(SELECT p.enabled FROM backhaul.notification_preferences p WHERE p.user_id = a.u AND p.channel = a.c AND p.category IN (a.k, 'all')
        ORDER BY p.category = 'all' LIMIT 1)`;
  const quiet = `coalesce((SELECT json_agg(json_build_object('startMinute', q.start_minute, 'endMinute', q.end_minute, 'days', q.days, 'timeZone', q.time_zone))
        FROM backhaul.quiet_hours q WHERE q.user_id = a.u), '[]')`;
  const muted = `c.user_id IS NOT NULL AS muted, c.until AS "mutedUntil", c.except_mentions AS "mutedExceptMentions"`;
  const notMuted = `false AS muted, NULL::timestamptz AS "mutedUntil", NULL::bool AS "mutedExceptMentions"`;
  return `SELECT j.received_at AS "receivedAt",
      ${where(KIND.withdrawal, withdrawn, 'false')} AS withdrawn,
      ${where(KIND.preference, enabled, 'NULL::bool')} AS enabled,
      ${where(KIND.block, `EXISTS (SELECT 1 FROM backhaul.blocked_users b WHERE b.user_id = a.u AND b.blocked_user_id = ${sender})`, 'false')} AS "senderBlocked",
      ${where(KIND.leftChat, 'EXISTS (SELECT 1 FROM backhaul.left_chats l WHERE l.user_id = a.u AND l.chat_id = a.h)', 'false')} AS "leftChat",
      ${withMessages ? 'msg.deleted_at IS NOT NULL' : 'false'} AS "messageDeleted",
      ${where(KIND.readMark, 'r.up_to', 'NULL::timestamptz')} AS "readUpTo",
      ${where(KIND.mute, muted, notMuted)},
      ${present} ${sessions} AS active,
      ${where(KIND.quietHours, quiet, `'[]'::json`)} AS "quietWindows"
    FROM json_to_recordset($1::json) AS a(n int, m text, u text, c text, k text, h text, g text, s text, v bool)
    LEFT JOIN backhaul.jobs j ON j.message_id = a.m
    ${where(KIND.readMark, 'LEFT JOIN backhaul.read_marks r ON r.user_id = a.u AND r.chat_id = a.h', '')}
    ${where(KIND.mute, 'LEFT JOIN backhaul.chat_mutes c ON c.user_id = a.u AND c.chat_id = a.h', '')}
    ${messages}
    WHERE ${ofFew('a.m')}
    ORDER BY a.n`;
}
