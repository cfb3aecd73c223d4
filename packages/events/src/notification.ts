import { defineEvent } from '@backhaul/broker/event';
import { z } from 'zod';

/** What a notification is about. People choose by it what reaches them. */
export const notificationCategories = ['message', 'mention', 'call', 'security', 'marketing', 'system'] as const;

/** One of those. */
export type NotificationCategory = (typeof notificationCategories)[number];

/** What every notification event carries. */
const notificationFields = {
  userId: z.string().min(1).max(200),
  title: z.string().max(1_000),
  body: z.string().max(20_000),
  fcmToken: z.string().min(1).max(4_096).optional(),
  email: z.string().min(3).max(320).optional(),
  phoneNumber: z.string().min(3).max(40).optional(),
  /** Passed to the app with a push, and to the templates of a mail. */
  data: z.record(z.string(), z.string()).optional(),
  /** Goes before everything else that waits: calls, one-time codes. */
  urgent: z.boolean().optional(),
  /** What it is about. Without it only rules that hold for every notification are asked. */
  category: z.enum(notificationCategories).optional(),
  /** The chat, the message in it, and who wrote that: what is muted, read, deleted or blocked is not sent. */
  chatId: z.string().min(1).max(200).optional(),
  chatMessageId: z.string().min(1).max(200).optional(),
  senderId: z.string().min(1).max(200).optional(),
  /** What the chat is called where several of its messages are told at once; the title if not given. */
  chatName: z.string().min(1).max(200).optional(),
  /** When what it is about happened; when the event was accepted if not given. */
  sentAt: z.iso.datetime({ offset: true }).optional(),
};

/** Not sent at or after this moment. */
const expiresAt = z.iso.datetime({ offset: true }).optional();

/** What a mail event may carry besides. */
const mailFields = {
  /** The name of a mail template; without it the mail is made of title and body. */
  template: z.string().min(1).max(100).optional(),
  /** What the template needs; checked by its own schema when the mail is made, so that a new template needs no new bridge. */
  templateData: z.record(z.string(), z.unknown()).optional(),
  /** The reader's language tag, such as es-MX. */
  locale: z.string().max(100).optional(),
  /** The reader's time zone, such as America/Mexico_City; UTC if not given. */
  timeZone: z.string().max(100).optional(),
  /** Whose logo, colours and sender name the mail has. */
  tenant: z.string().min(1).max(100).optional(),
};

/** What a text message's event may carry besides. */
const smsFields = {
  /** What it is for: codes go first, expire after five minutes and have the tightest limit per number. `general` if not given. */
  class: z.enum(['otp', 'two_factor', 'alert', 'general']).optional(),
  expiresAt,
  /** The same, counted from when the event was accepted. */
  expiresInMs: z.int().min(1_000).max(604_800_000).optional(),
  /** A template for WhatsApp, which is tried first; title and body are the text that is sent instead if that does not reach the person. */
  whatsapp: z
    .object({
      contentSid: z.string().regex(/^HX[0-9a-fA-F]{32}$/, 'expected the id of a template such as HX followed by 32 hexadecimal digits'),
      variables: z
        .record(z.string().min(1).max(50), z.string().max(1_024).regex(/\S/, 'expected some text'))
        .refine((variables) => Object.keys(variables).length <= 100, 'expected at most 100 variables')
        .optional(),
    })
    .optional(),
};

const example = { userId: '8a5c2f54-93a4-4d26-b1a4-2f3dbd0f6f11', title: 'Family', body: 'You have a new message' };

/** An address that a device opens or loads by itself: never in clear text. */
const httpsAddress = z
  .string()
  .max(2_000)
  .regex(/^https:\/\/[^\s]+$/, 'expected an address that begins with https://');

/** How a push looks and behaves; every field is optional and mapped to what each platform calls it. */
export const pushOptions = z.object({
  /** high wakes the device, normal may wait until it wakes by itself. High if not given. */
  priority: z.enum(['high', 'normal']).optional(),
  /** Android's notification channel, which the app has created. */
  channelId: z.string().min(1).max(200).optional(),
  /** The number on the app's icon; 0 takes it away. */
  badge: z.int().min(0).max(99_999).optional(),
  /** A sound that the app ships; `none` for silence. The platform's usual one if not given. */
  sound: z.string().min(1).max(200).optional(),
  /** iOS: the app's extension may change the push before it is shown, to decrypt it for example. */
  mutableContent: z.boolean().optional(),
  /** For how long the provider keeps it for a device that is away; 0 is now or never. At most FCM's four weeks. */
  ttlSeconds: z.int().min(0).max(2_419_200).optional(),
  /** Pushes with the same id replace each other on the device, "new messages in this chat". Each push is its own if not given. */
  collapseId: z.string().min(1).max(200).optional(),
  /** Nothing is shown: the app gets `data` and decides. */
  dataOnly: z.boolean().optional(),
  /** What a tap opens in a browser. */
  link: httpsAddress.optional(),
  /** A picture that is shown with it. */
  image: httpsAddress.optional(),
});

/** People that one push event may name. */
export const maxPushUsers = 10_000;

/** Somebody's phone shall show something: the device `fcmToken`, every device of `userId`, or every device of all `userIds`. */
export const notificationPush = defineEvent({
  routingKey: 'notification.push',
  data: z
    .object({
      type: z.literal('push'),
      ...notificationFields,
      userId: notificationFields.userId.optional(),
      /** Instead of `userId`; naming somebody twice is naming them once. */
      userIds: z.array(notificationFields.userId).min(1).max(maxPushUsers).optional(),
      push: pushOptions.optional(),
      /** The reader's language tag, such as es-MX. */
      locale: mailFields.locale,
      expiresAt,
    })
    .refine(({ userId, userIds }) => (userId === undefined) !== (userIds === undefined), { path: ['userId'], message: 'expected either userId or userIds' })
    .refine(({ fcmToken, userIds }) => fcmToken === undefined || userIds === undefined, {
      path: ['fcmToken'],
      message: 'belongs to one user: not together with userIds',
    }),
  example: { type: 'push', ...example, fcmToken: 'device-token-1', data: { chatId: '42' } },
});

/** Somebody shall get a mail. */
export const notificationEmail = defineEvent({
  routingKey: 'notification.email',
  data: z.object({ type: z.literal('email'), ...notificationFields, ...mailFields, expiresAt }),
  example: { type: 'email', ...example, email: 'someone@example.com' },
});

/** Somebody shall get a text message. */
export const notificationSms = defineEvent({
  routingKey: 'notification.sms',
  data: z.object({ type: z.literal('sms'), ...notificationFields, ...smsFields }),
  example: { type: 'sms', ...example, phoneNumber: '+15005550006' },
});

/** Messages that one withdrawal may name. */
const maxWithdrawn = 100;
const idText = z.string().min(1).max(200);
/** The ids of what is withdrawn travel to the devices, in one push. */
const maxIdsLength = 3_000;

/** Notifications are of no use any more: what waits is not sent, and what is shown on the devices goes away. */
export const notificationWithdraw = defineEvent({
  routingKey: 'notification.withdraw',
  data: z
    .object({
      type: z.literal('withdraw'),
      userId: idText,
      /** read: elsewhere; deleted: the messages are gone; logged_out: the user is signed in nowhere any more, only pushes are withdrawn. */
      reason: z.enum(['read', 'deleted', 'logged_out']),
      chatId: idText.optional(),
      /** All of the chat's if not given. */
      chatMessageIds: z.array(idText).min(1).max(maxWithdrawn).optional(),
      /** The `collapseId`s of pushes that the app shall clear. */
      collapseIds: z.array(idText).min(1).max(maxWithdrawn).optional(),
      /** When the chat was read; when the event was accepted if not given. */
      sentAt: z.iso.datetime({ offset: true }).optional(),
      /** The only device to clear; every registered one of the user if not given. */
      fcmToken: z.string().min(1).max(4_096).optional(),
    })
    .refine(({ reason, chatId, chatMessageIds }) => reason === 'logged_out' || chatId !== undefined || chatMessageIds !== undefined, {
      path: ['chatId'],
      message: 'expected a chatId or chatMessageIds: only logged_out withdraws everything',
    })
    .refine(({ chatMessageIds = [], collapseIds = [] }) => [...chatMessageIds, ...collapseIds.map(() => 'x'.repeat(32))].join(' ').length <= maxIdsLength, {
      path: ['chatMessageIds'],
      message: `are too many for one push with the collapseIds: at most ${maxIdsLength} characters; send several events`,
    }),
  example: { type: 'withdraw', userId: example.userId, reason: 'read', chatId: '42' },
});
