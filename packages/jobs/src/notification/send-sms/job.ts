import { notificationSms } from '@backhaul/events';
import { defineJob } from '@backhaul/queue/job';
import { notification, standardRetry } from '../../queues.ts';
import { timeoutMs, urgentPriority } from '../limits.ts';
import { isCode } from './may-send.ts';

/** Text one phone. A lost answer is never followed by a resend: the message costs money and cannot be recognised as a copy. */
export const sendSms = defineJob({
  name: 'notification.send-sms',
  queue: notification,
  payload: notificationSms.data,
  on: notificationSms,
  // A code is waited for by somebody who looks at a screen.
  priority: (payload) => ((payload.urgent ?? isCode(payload.class)) ? urgentPriority : 1),
  envelope: 20,
  atOnce: 10,
  whenLockLost: 'go_on',
  timeoutMs,
  retry: standardRetry,
});
