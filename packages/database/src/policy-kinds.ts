import { ofFew } from './by-key.ts';
import { textColumn } from './columns.ts';
import type { Queryable } from './database.ts';

/** The policy's tables, each as a bit of `policy_users.kinds`; triggers keep them. */
export const KIND = { preference: 1, mute: 2, quietHours: 4, leftChat: 8, block: 16, readMark: 32, presence: 64, withdrawal: 128 } as const;

/** Everything may be on record. */
export const ANY_KIND = -1;

/** Those that speak of a chat. */
const OF_CHATS = KIND.mute | KIND.leftChat | KIND.readMark;

/** Which of what is on record about a user can matter for a notification: without a chat or a sender, nothing about those. */
export function kindsThatMatter(
  kinds: number,
  {
    chatId,
    chatMessageId,
    senderId,
  }: { readonly chatId?: string | undefined; readonly chatMessageId?: string | undefined; readonly senderId?: string | undefined },
): number {
  return kinds & ~(chatId === undefined ? OF_CHATS : 0) & ~(senderId === undefined && chatMessageId === undefined ? KIND.block : 0);
}

/** Of the asked users those about whom anything is, or was, on record, and what. */
export async function policyKinds(database: Queryable, userIds: ReadonlySet<string>): Promise<ReadonlyMap<string, number>> {
  if (userIds.size === 0) return new Map();
  const { rows } = await database.query<{ id: string; kinds: number }>(
    `SELECT asked.id, p.kinds FROM unnest($1::text[]) AS asked(id) JOIN backhaul.policy_users p ON p.user_id = asked.id WHERE ${ofFew('asked.id')}`,
    [textColumn([...userIds])],
  );
  return new Map(rows.map(({ id, kinds }) => [id, kinds]));
}
