import { randomUUID } from 'node:crypto';
import type { Queryable } from '@backhaul/database';
import { CommandFailure, EXIT } from '../exit-codes.ts';

/** The columns of `messages` as development creates the table; a chat app's own has more. */
const DEVELOPMENT_COLUMNS = ['chat_id', 'content', 'created_at', 'deleted_at', 'id', 'media_metadata', 'media_url', 'sender_id', 'thumbnail_url', 'updated_at'];

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/**
 * Writes the message that a medium belongs to, as the chat app would have
 * done, but only into the table that development creates: a made-up message
 * would be seen by people in a real chat.
 *
 * @throws {CommandFailure} usage, when the table is a chat app's own
 */
export async function insertMessage(database: Queryable, message: { readonly id: string; readonly senderId: string; readonly content: string }): Promise<void> {
  const { rows } = await database.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute WHERE attrelid = to_regclass('messages') AND attnum > 0 AND NOT attisdropped ORDER BY attname`,
  );
  if (rows.map(({ name }) => name).join() !== DEVELOPMENT_COLUMNS.join()) {
    const what = rows.length === 0 ? 'there is no table messages' : 'the table messages belongs to a chat app';
    throw new CommandFailure(EXIT.usage, 'not_development', `${what}: name an existing message with --data '{"messageId":"..","userId":".."}'`);
  }
  const senderId = UUID.test(message.senderId) ? message.senderId : randomUUID();
  await database.query('INSERT INTO messages (id, sender_id, chat_id, content) VALUES ($1, $2, $3, $4)', [message.id, senderId, randomUUID(), message.content]);
}
