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
      const { fcmToken: token, title, body, data = {}, push: { collapseId, ...options } = {} } = payload;
      if (token === undefined) return undefined;
      // Everything that travels counts: a picture's address or a link as much as the body.
      const sizeBytes = Buffer.byteLength(JSON.stringify({ ...(options.dataOnly === true ? {} : { notification: { title, body } }), data, ...options }));
      if (sizeBytes > maxPushBytes) {
        throw new PermanentFailure(
          'payload_too_large',
          `title, body, data and options make ${sizeBytes} bytes; a push holds at most ${maxPushBytes}: send a shorter body, and let the app fetch the rest`,
        );
      }
      const key = effectKey('push', context.messageId, token);
      // Hashed as well: a chat's name is nothing for the headers of three providers, and Apple takes no more than 64 bytes.
      const collapseKey = effectHash(collapseId === undefined ? key : `collapse:${payload.userId}:${collapseId}`);
      const shape = payload.push === undefined ? {} : { options };
      return {
        key,
        whenUnknown: 'resend-once',
        send: (signal) => context.ports.push.send({ token, title, body, data, collapseKey, ...shape }, signal),
      };
    },
  });
