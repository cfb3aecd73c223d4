import { notificationSms } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { notification, standardRetry } from '../../queues.ts';
import { timeoutMs, urgentPriority } from '../limits.ts';

/** Text one phone. A lost answer is never followed by a resend: the message costs money and cannot be recognised as a copy. */
export const sendSms = defineJob({
  name: 'notification.send-sms',
  queue: notification,
  payload: notificationSms.data,
  on: notificationSms,
  priority: (payload) => (payload.urgent === true ? urgentPriority : 1),
  timeoutMs,
  retry: standardRetry,
});
