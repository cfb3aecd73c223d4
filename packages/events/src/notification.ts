import { defineEvent } from '@backhaul/broker/event';
import { z } from 'zod';

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
};

const example = { userId: '8a5c2f54-93a4-4d26-b1a4-2f3dbd0f6f11', title: 'Family', body: 'You have a new message' };

/** Somebody's phone shall show something. */
export const notificationPush = defineEvent({
  routingKey: 'notification.push',
  data: z.object({ type: z.literal('push'), ...notificationFields }),
  example: { type: 'push', ...example, fcmToken: 'device-token-1', data: { chatId: '42' } },
});

/** Somebody shall get a mail. */
export const notificationEmail = defineEvent({
  routingKey: 'notification.email',
  data: z.object({ type: z.literal('email'), ...notificationFields }),
  example: { type: 'email', ...example, email: 'someone@example.com' },
});

/** Somebody shall get a text message. */
export const notificationSms = defineEvent({
  routingKey: 'notification.sms',
  data: z.object({ type: z.literal('sms'), ...notificationFields }),
  example: { type: 'sms', ...example, phoneNumber: '+15005550006' },
});
