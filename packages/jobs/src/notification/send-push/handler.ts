import type { JobHandler } from '@backhaul/queue/job';
import { notify } from '../notify.ts';
import type { NotificationPorts } from '../ports.ts';
import { type PushPayload, checkSize, toDevice } from './message.ts';
import { pushToUsers } from './to-users.ts';

/** Sends one push: to the device that is named, or to every device of the users that are. */
export const sendPushHandler: JobHandler<PushPayload, NotificationPorts> = async (payload, context) => {
  const { fcmToken: token, userId } = payload;
  if (token === undefined || userId === undefined) return pushToUsers(payload, context);
  return notify(context, {
    channel: 'push',
    notification: { ...payload, userId },
    prepare() {
      checkSize(payload);
      return toDevice(payload, { token, userId }, context, (answer) => context.ports.devices.heard([answer]));
    },
  });
};
