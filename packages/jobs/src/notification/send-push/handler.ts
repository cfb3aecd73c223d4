import type { JobContext, JobHandler, Outcome } from '@backhaul/queue/job';
import type { Begun } from '../deliver-once.ts';
import { notify } from '../notify.ts';
import type { NotificationPorts } from '../ports.ts';
import { type PushPayload, checkSize, toDevice } from './message.ts';
import { pushToUsers } from './to-users.ts';

/** Sends one push: to the device that is named, or to every device of the users that are. */
export const sendPushHandler: JobHandler<PushPayload, NotificationPorts> = async (payload, context) =>
  isToDevice(payload) ? pushToDevice(payload, context) : pushToUsers(payload, context);

/** A push to the one device that the event names. */
export type PushToDevice = PushPayload & { readonly userId: string; readonly fcmToken: string };

/** Whether it names one. */
export function isToDevice(payload: PushPayload): payload is PushToDevice {
  return payload.fcmToken !== undefined && payload.userId !== undefined;
}

/**
 * Sends one push to the device that it names.
 *
 * @param begun what a batch has done for it
 */
export function pushToDevice(payload: PushToDevice, context: JobContext<NotificationPorts>, begun?: Begun): Promise<Outcome> {
  const { fcmToken: token, userId } = payload;
  return notify(context, {
    channel: 'push',
    notification: payload,
    prepare() {
      checkSize(payload);
      return { ...toDevice(payload, { token, userId }, context, (answer) => context.ports.devices.heard([answer])), begun };
    },
  });
}
