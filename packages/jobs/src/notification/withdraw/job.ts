import { notificationWithdraw } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { notification, standardRetry } from '../../queues.ts';
import { timeoutMs } from '../limits.ts';

/** Take back what waits for somebody, and clear what their devices show of it. Overtakes what it takes back. */
export const withdraw = defineJob({
  name: 'notification.withdraw',
  queue: notification,
  payload: notificationWithdraw.data,
  on: notificationWithdraw,
  priority: 5,
  timeoutMs,
  retry: standardRetry,
});
