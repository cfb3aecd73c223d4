import { type JobContext, type Outcome, PermanentFailure, RetryLater } from '@backhaul/queue/job';
import type { DeliverOnce } from '../deliver-once.ts';
import { effectHash, effectKey } from '../effect-key.ts';
import type { LookUp, NotificationPorts } from '../ports.ts';
import type { SmsReport } from '../sms-ports.ts';
import { noteOptOut } from './note-opt-out.ts';

/** A template and what it is filled with. */
interface Template {
  readonly contentSid: string;
  readonly variables?: Readonly<Record<string, string>> | undefined;
}

/** Asked again soon, as most is reported within seconds; then ever more rarely. */
const minWaitMs = 2_000;
const maxWaitMs = 30_000;

/** The provider's error for a number whose owner asked for silence. */
const optedOutCode = 21_610;

/**
 * A message in WhatsApp, with the text that is sent instead when the person
 * is certain not to get it: the provider refuses this person, or reports
 * within `whatsAppWaitMs` that it could not be delivered. A lost answer is
 * settled by reports alone: the list of messages shows no templates.
 */
export function inWhatsApp(
  context: JobContext<NotificationPorts>,
  { to, template, mayNotSend, text }: { to: string; template: Template; mayNotSend: () => Promise<Outcome | undefined>; text: DeliverOnce },
): DeliverOnce {
  const { whatsApp, smsReports, smsPolicy } = context.ports;
  const key = effectKey('whatsapp', context.messageId, to);
  const reference = effectHash(key);
  return {
    // The same account: what holds texts holds these as well.
    channel: 'sms',
    key,
    whenUnknown: 'never-resend',
    result: { via: 'whatsapp' },
    mayNotSend,
    send: async (signal) =>
      noteOptOut(context, to, await whatsApp.send({ to, contentSid: template.contentSid, variables: oneLine(template.variables ?? {}), reference }, signal)),
    async lookUp(): Promise<LookUp> {
      const report = await smsReports.ofSend(reference);
      if (report === undefined) return smsPolicy.whatsAppWaitMs === 0 ? { outcome: 'not_found' } : { outcome: 'unreadable', detail: 'no report has come yet' };
      if (!report.undelivered) return { outcome: 'found', providerId: report.providerId };
      if (report.errorCode === optedOutCode) return { outcome: 'undelivered', providerId: report.providerId, detail: failureIn(report) };
      return { outcome: 'refused', detail: failureIn(report) };
    },
    otherwise: {
      message: text,
      mayFollow: (delivery) => delivery.outcome === 'unconfigured' || (delivery.about === 'recipient' && delivery.code !== 'opted_out'),
      async failedSince(since) {
        const report = await smsReports.ofSend(reference);
        if (report?.undelivered === true) {
          if (report.errorCode === optedOutCode) throw new PermanentFailure('opted_out', failureIn(report));
          return failureIn(report);
        }
        const passedMs = Date.now() - since.getTime();
        if (report?.arrived === true || passedMs >= smsPolicy.whatsAppWaitMs) return undefined;
        throw new RetryLater(
          'whatsapp_pending',
          Math.min(maxWaitMs, Math.max(minWaitMs, passedMs)),
          'WhatsApp took the message and has not reported yet that it arrived',
        );
      },
    },
  };
}

function failureIn({ providerId, status, errorCode }: SmsReport): string {
  return `the provider reports ${providerId} as ${status}${errorCode === null ? '' : ` (${errorCode})`}`;
}

/** The provider refuses line breaks, tabs and long gaps in what a template is filled with. (Twilio error 21656) */
function oneLine(variables: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, value.replaceAll(/\s+/g, ' ').trim()]));
}
