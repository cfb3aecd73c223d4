import { randomUUID } from 'node:crypto';
import type { ChatBackend } from './chat-backend.ts';
import type { MediaFile } from './own-files.ts';

/** One event of the demo. */
export interface PlannedEvent {
  readonly routingKey: string;
  /** What it is about, for people. */
  readonly subject: string;
  readonly messageId: string;
  readonly body: Buffer;
  readonly expected: 'done' | 'dead letter';
  /** Whom a mail goes to, to find it in the mail folder. */
  readonly recipient?: string;
  /** Does what a chat backend does before it publishes. */
  readonly prepare?: (backend: ChatBackend) => Promise<void>;
  /** Looks whether the effect is there; says what is wrong if it is not. */
  readonly verify?: (backend: ChatBackend) => Promise<string | undefined>;
}

/** What is sent: every medium, three pushes, a mail, a text message, a cleanup, and one message that nobody can understand. */
export function planEvents(media: readonly MediaFile[], story: MediaFile): PlannedEvent[] {
  const [sender, reader, chatId] = [randomUUID(), randomUUID(), randomUUID()];
  const event = (routingKey: string, subject: string, payload: Record<string, unknown>, more: Partial<PlannedEvent> = {}): PlannedEvent => ({
    routingKey,
    subject,
    messageId: randomUUID(),
    body: Buffer.from(JSON.stringify({ type: routingKey.split('.')[1], ...payload })),
    expected: 'done',
    ...more,
  });
  const storyId = randomUUID();
  const storyKey = `stories/${storyId}.jpg`;
  return [
    ...media.map(({ path, name, kind, contentType }) => {
      const messageId = randomUUID();
      // The key is the app's own: never made of what the sender called the file.
      const s3Key = `uploads/${messageId}`;
      return event(
        `media.${kind}`,
        name,
        { s3Key, userId: sender, messageId, originalName: name },
        {
          messageId,
          async prepare(backend) {
            await backend.upload(path, s3Key, contentType);
            await backend.insertMessage({ id: messageId, senderId: sender, chatId, content: name });
          },
          verify: async (backend) => ((await backend.mediaUrlOf(messageId)) === undefined ? 'its message has no media_url' : undefined),
        },
      );
    }),
    ...['phone', 'tablet', 'watch'].map((device) =>
      event('notification.push', `to a ${device}`, {
        userId: reader,
        title: 'Family',
        body: 'sent a picture',
        fcmToken: `demo-${device}-${reader}`,
        data: { chatId },
      }),
    ),
    event(
      'notification.email',
      'to someone@example.com',
      { userId: reader, title: 'You have unread messages', body: 'You got a picture, a video and a voice note.', email: 'someone@example.com' },
      { recipient: 'someone@example.com' },
    ),
    event('notification.sms', 'to +1 500 555 0006', { userId: reader, title: 'Code', body: 'Your sign-in code is 314159', phoneNumber: '+15005550006' }),
    event(
      'cleanup.stories',
      'a story of the day before yesterday',
      {},
      {
        async prepare(backend) {
          await backend.upload(story.path, storyKey, story.contentType);
          await backend.insertExpiredStory({ id: storyId, userId: sender, mediaKey: storyKey });
        },
        verify: async (backend) => ((await backend.hasStory(storyId)) ? 'the expired story is still there' : undefined),
      },
    ),
    // What a broken publisher sends: it must harm nothing and must not be lost either.
    event('media.image', 'a message that is not JSON', {}, { body: Buffer.from('{"type":"image", oops'), expected: 'dead letter' }),
  ];
}
