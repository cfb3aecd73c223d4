import type { notificationPush } from '@backhaul/events';
import { type JobContext, PermanentFailure } from '@backhaul/queue/job';
import type { z } from 'zod';
import type { DeliverOnce } from '../deliver-once.ts';
import { collapseKeyOf, effectHash, effectKey } from '../effect-key.ts';
import type { NotificationPorts } from '../ports.ts';
import type { PushDevice, TokenAnswer } from './devices.ts';

/** What a push event says. */
export type PushPayload = z.output<typeof notificationPush.data>;

/** What FCM accepts for notification and data together. (FCM's documentation: "maximum payload 4096 bytes") */
const maxPushBytes = 4_096;

/** Everything that travels counts: a picture's address or a link as much as the body. */
function sizeBytesOf({ title, body, data = {}, push: { collapseId: _, ...options } = {} }: PushPayload): number {
  return Buffer.byteLength(JSON.stringify({ ...(options.dataOnly === true ? {} : { notification: { title, body } }), data, ...options }));
}

/** Whether a push holds it. */
export function fits(payload: PushPayload): boolean {
  return sizeBytesOf(payload) <= maxPushBytes;
}

/** @throws {PermanentFailure} `payload_too_large` */
export function checkSize(payload: PushPayload): void {
  const sizeBytes = sizeBytesOf(payload);
  if (sizeBytes <= maxPushBytes) return;
  throw new PermanentFailure(
    'payload_too_large',
    `title, body, data and options make ${sizeBytes} bytes; a push holds at most ${maxPushBytes}: send a shorter body, and let the app fetch the rest`,
  );
}

/** One push to one device of a user. `heard` is told what the provider said about the token, if it said anything about it. */
export function toDevice(
  payload: PushPayload,
  { token, userId, suspectMessageId }: Pick<PushDevice, 'token' | 'userId'> & Partial<PushDevice>,
  context: Pick<JobContext<NotificationPorts>, 'messageId' | 'ports'>,
  heard: (answer: TokenAnswer) => void | Promise<void>,
): DeliverOnce {
  const { title, body, data = {}, push: { collapseId, ...options } = {} } = payload;
  const key = effectKey('push', context.messageId, token);
  const collapseKey = collapseId === undefined ? effectHash(key) : collapseKeyOf(userId, collapseId);
  const shape = payload.push === undefined ? {} : { options };
  return {
    channel: 'push',
    key,
    whenUnknown: 'resend-once',
    async send(signal, _again, wording = { title, body }) {
      const about = {
        token,
        messageId: context.messageId,
        onProbation: suspectMessageId === undefined ? undefined : suspectMessageId !== null,
        sentAt: performance.now(),
      };
      const delivery = await context.ports.push.send({ token, ...wording, data, collapseKey, ...shape }, signal);
      // Nothing else is about the token: a refused message, a busy provider or refused credentials say nothing of whether the device is there.
      if (delivery.outcome === 'sent') await heard({ ...about, says: 'reached' });
      else if (delivery.outcome === 'refused' && delivery.about === 'recipient') await heard({ ...about, says: 'gone' });
      return delivery;
    },
  };
}
