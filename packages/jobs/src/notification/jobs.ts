import { sendEmail } from './send-email/job.ts';
import { sendPush } from './send-push/job.ts';
import { sendSms } from './send-sms/job.ts';
import { withdraw } from './withdraw/job.ts';

/** Every notification job, without its handler: importing this brings no provider and no client. */
export const notificationJobs = [sendPush, sendEmail, sendSms, withdraw] as const;
