import { type JobHandler, PermanentFailure } from '@backhaul/queue/job';
import { parsePhoneNumberFromString } from 'libphonenumber-js/min';
import type { z } from 'zod';
import { effectKey } from '../effect-key.ts';
import { notify } from '../notify.ts';
import type { NotificationPorts } from '../ports.ts';
import type { sendSms } from './job.ts';

/** What the provider joins from segments at most. (Twilio error 21617: "exceeds the 1600 character limit") */
const maxSmsLength = 1_600;

/** Texts one phone. */
export const sendSmsHandler: JobHandler<z.output<typeof sendSms.payload>, NotificationPorts> = (payload, context) =>
  notify(context, {
    channel: 'sms',
    notification: payload,
    prepare() {
      if (payload.phoneNumber === undefined) return undefined;
      const to = parseE164(payload.phoneNumber);
      if (to === undefined) throw new PermanentFailure('invalid_phone_number', 'the phone number is not in international form (E.164) such as +4915112345678');
      const body = payload.title === '' ? payload.body : payload.body === '' ? payload.title : `${payload.title}: ${payload.body}`;
      if (body === '') throw new PermanentFailure('empty_message', 'a text message needs a title or a body');
      if (body.length > maxSmsLength)
        throw new PermanentFailure('payload_too_large', `title and body make ${body.length} characters; a text message holds at most ${maxSmsLength}`);
      const key = effectKey('sms', context.messageId, to);
      return { key, whenUnknown: 'never-resend', send: (signal) => context.ports.sms.send({ to, body }, signal) };
    },
  });

/**
 * The number in E.164, or undefined. Only the length for its country is
 * checked (`isPossible`): tables of assigned ranges age, and refusing a new
 * range would lose messages that the provider could deliver.
 */
function parseE164(input: string): string | undefined {
  // Without the plus sign the country would be a guess.
  if (!input.trim().startsWith('+')) return undefined;
  // By default the library picks a number out of any text around it.
  const number = parsePhoneNumberFromString(input.trim(), { extract: false });
  return number?.isPossible() === true && number.ext === undefined ? number.number : undefined;
}
