import { notificationEmail } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { notification, standardRetry } from '../../queues.ts';
import { timeoutMs, urgentPriority } from '../limits.ts';

/** Mail one person. A lost answer is followed by at most one resend, with the same Message-ID. */
export const sendEmail = defineJob({
  name: 'notification.send-email',
  queue: notification,
  payload: notificationEmail.data,
  on: notificationEmail,
  priority: (payload) => (payload.urgent === true ? urgentPriority : 1),
  envelope: 20,
  atOnce: 10,
  whenLockLost: 'go_on',
  timeoutMs,
  retry: standardRetry,
});
