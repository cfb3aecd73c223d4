import { knownLocale, readerOf } from '../templates/say.ts';

/** What a push says instead of its own title and body. */
export interface Wording {
  readonly title: string;
  readonly body: string;
}

/** Longer names of chats are cut off: the push has to hold them twice. */
const maxNameLength = 80;

/** Several messages of a chat, and what is known of their reader. */
interface Summary {
  readonly chat: string;
  readonly count: number;
  /** What the app says of itself. It knows better than the event what is read on it. */
  readonly deviceLocale?: string | undefined;
  /** What the event says of its user. Counts where there are no texts for the device's. */
  readonly locale?: string | undefined;
}

/** What stands for several messages of a chat: "5 new messages in Family", in the reader's language. */
export function summaryWording({ chat, count, deviceLocale, locale }: Summary): Wording {
  const characters = [...chat];
  const title = characters.length <= maxNameLength ? chat : `${characters.slice(0, maxNameLength - 1).join('')}…`;
  const reader = readerOf(knownLocale(deviceLocale) ?? locale, undefined);
  return { title, body: reader.say(title === '' ? 'coalesced.messages' : 'coalesced.body', { count, chat: title }) };
}
