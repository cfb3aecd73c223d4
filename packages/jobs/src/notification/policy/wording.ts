import { readerOf } from '../templates/say.ts';

/** What a push says instead of its own title and body. */
export interface Wording {
  readonly title: string;
  readonly body: string;
}

/** Longer names of chats are cut off: the push has to hold them twice. */
const maxNameLength = 80;

/** What stands for several messages of a chat: "5 new messages in Family", in the reader's language. */
export function summaryWording({ chat, count, locale }: { chat: string; count: number; locale?: string | undefined }): Wording {
  const characters = [...chat];
  const title = characters.length <= maxNameLength ? chat : `${characters.slice(0, maxNameLength - 1).join('')}…`;
  return { title, body: readerOf(locale, undefined).say(title === '' ? 'coalesced.messages' : 'coalesced.body', { count, chat: title }) };
}
