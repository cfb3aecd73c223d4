import { notificationPush } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { notification, standardRetry } from '../../queues.ts';
import { timeoutMs, urgentPriority } from '../limits.ts';

/** Show something on one device. A lost answer is followed by at most one resend, with the same collapse key. */
export const sendPush = defineJob({
  name: 'notification.send-push',
  queue: notification,
  payload: notificationPush.data,
  on: notificationPush,
  priority: (payload) => (payload.urgent === true ? urgentPriority : 3),
  envelope: 500,
  // One to many people has hundreds of sends of its own under way.
  travelsAlone: (payload) => payload.userIds !== undefined,
  whenLockLost: 'go_on',
  timeoutMs,
  retry: standardRetry,
});
