import { type JobHandler, PermanentFailure } from '@backhaul/queue/job';
import type { z } from 'zod';
import { effectHash, effectKey } from '../effect-key.ts';
import { notify } from '../notify.ts';
import type { NotificationPorts } from '../ports.ts';
import type { sendPush } from './job.ts';

/** What FCM accepts for notification and data together. (FCM's documentation: "maximum payload 4096 bytes") */
const maxPushBytes = 4_096;

/** Sends one push to one device. */
export const sendPushHandler: JobHandler<z.output<typeof sendPush.payload>, NotificationPorts> = (payload, context) =>
  notify(context, {
    channel: 'push',
    notification: payload,
    prepare() {
      const { fcmToken: token, title, body, data = {} } = payload;
      if (token === undefined) return undefined;
      const sizeBytes = Buffer.byteLength(JSON.stringify({ notification: { title, body }, data }));
      if (sizeBytes > maxPushBytes) {
        throw new PermanentFailure(
          'payload_too_large',
          `title, body and data make ${sizeBytes} bytes; a push holds at most ${maxPushBytes}: send a shorter body, and let the app fetch the rest`,
        );
      }
      const key = effectKey('push', context.messageId, token);
      return {
        key,
        whenUnknown: 'resend-once',
        send: (signal) => context.ports.push.send({ token, title, body, data, collapseKey: effectHash(key) }, signal),
      };
    },
  });
