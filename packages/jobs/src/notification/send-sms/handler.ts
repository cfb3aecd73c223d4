import { type JobHandler, PermanentFailure } from '@backhaul/queue/job';
import type { z } from 'zod';
import type { DeliverOnce } from '../deliver-once.ts';
import { effectHash, effectKey } from '../effect-key.ts';
import { notify } from '../notify.ts';
import type { NotificationPorts } from '../ports.ts';
import type { sendSms } from './job.ts';
import { findLost } from './find-lost.ts';
import { inWhatsApp } from './in-whatsapp.ts';
import { isCode, mayNotSend } from './may-send.ts';
import { noteOptOut } from './note-opt-out.ts';
import { parsePhoneNumber } from './phone-number.ts';
import { countSegments } from './segments.ts';

/** What the provider joins from segments at most. (Twilio error 21617: "exceeds the 1600 character limit") */
const maxSmsLength = 1_600;

/** Texts one phone, or writes to it in WhatsApp where the event has a template for that. */
export const sendSmsHandler: JobHandler<z.output<typeof sendSms.payload>, NotificationPorts> = (payload, context) =>
  notify(context, {
    channel: 'sms',
    // The row in `notifications` outlives the code and is shown to support staff: it says what was sent, not the code.
    notification: isCode(payload.class) ? { userId: payload.userId, title: payload.class ?? '', body: '' } : payload,
    prepare() {
      if (payload.phoneNumber === undefined) return undefined;
      const { sms, smsPolicy } = context.ports;
      const to = parsePhoneNumber(payload.phoneNumber, smsPolicy.defaultCountry);
      const body = payload.title === '' ? payload.body : payload.body === '' ? payload.title : `${payload.title}: ${payload.body}`;
      if (body === '') throw new PermanentFailure('empty_message', 'a text message needs a title or a body');
      if (body.length > maxSmsLength)
        throw new PermanentFailure('payload_too_large', `title and body make ${body.length} characters; a text message holds at most ${maxSmsLength}`);
      const counted = countSegments(body);
      if (counted.segments > smsPolicy.maxSegments)
        throw new PermanentFailure(
          'too_many_segments',
          `the text makes ${counted.segments} segments in ${counted.encoding}, ${smsPolicy.maxSegments} are allowed`,
        );
      const facts = { to, class: payload.class ?? 'general', expiresInMs: payload.expiresInMs, expiresAt: date(payload.expiresAt) } as const;
      const key = effectKey('sms', context.messageId, to);
      const message = { to, body, reference: effectHash(key) };
      const text: DeliverOnce = {
        channel: 'sms',
        key,
        whenUnknown: 'never-resend',
        result: counted,
        mayNotSend: () => mayNotSend(context, facts),
        lookUp: (claimedAt, signal) => findLost(context.ports, message, claimedAt, signal),
        send: async (signal) => noteOptOut(context, to, await sms.send(message, signal)),
      };
      if (payload.whatsapp === undefined) return text;
      return inWhatsApp(context, { to, template: payload.whatsapp, mayNotSend: () => mayNotSend(context, facts), text });
    },
  });

function date(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(text);
}
