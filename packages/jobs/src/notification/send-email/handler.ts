import { type JobHandler, PermanentFailure } from '@backhaul/queue/job';
import type { z } from 'zod';
import { effectHash, effectKey } from '../effect-key.ts';
import { notify } from '../notify.ts';
import type { NotificationPorts } from '../ports.ts';
import { brandOf } from '../templates/index.ts';
import { parseAddress } from './address.ts';
import type { sendEmail } from './job.ts';
import { mayNotSend } from './may-send.ts';
import { renderMail } from './render.ts';

/** Mails one person. */
export const sendEmailHandler: JobHandler<z.output<typeof sendEmail.payload>, NotificationPorts> = (payload, context) =>
  notify(context, {
    channel: 'email',
    notification: payload,
    prepare() {
      if (payload.email === undefined) return undefined;
      const to = parseAddress(payload.email);
      if (to === undefined) throw new PermanentFailure('invalid_address', 'the email address is not one plain address such as someone@example.com');
      const key = effectKey('email', context.messageId, to);
      const brand = brandOf(context.ports.brands, payload.tenant);
      const mail = {
        to,
        ...renderMail(payload, brand),
        messageIdLeft: effectHash(key),
        key,
        ...(brand.senderName === undefined ? {} : { fromName: brand.senderName }),
      };
      return {
        key,
        whenUnknown: 'resend-once',
        mayNotSend: () => mayNotSend(context, { to, urgent: payload.urgent === true }),
        async send(signal, again) {
          const delivery = await context.ports.mailer.send({ ...mail, again }, signal);
          if (delivery.outcome === 'refused' && delivery.bounce !== undefined) {
            // The next mail bounces as well: a failure to note it loses nothing, a throw here would read as "maybe sent".
            await context.ports.mailGuard
              .suppress(to, { reason: 'hard_bounce', code: delivery.bounce })
              .catch((error: unknown) => context.log.warn('a hard bounce could not be kept', { error }));
          }
          return delivery;
        },
      };
    },
  });
