import { type SmsReports, smsStatuses } from '@backhaul/database';
import { type Metrics, withDeadline } from '@backhaul/runtime';
import { type Request, type Response, Router, text } from 'express';
import { z } from 'zod';
import { HttpError } from '../http-errors.ts';
import { signatureMatches } from '../twilio-signature.ts';

/** What the routes need. */
export interface TwilioWebhookRoutesOptions {
  /** What the provider signs with; without it there are no such routes. */
  readonly authToken: string | undefined;
  /** The address under which the provider reaches this service. */
  readonly baseUrl: string | undefined;
  readonly reports: Pick<SmsReports, 'status' | 'keyword'>;
  readonly metrics: Metrics;
}

/** Whole messages with all that the provider adds are a few kB. */
const formLimit = '64kb';

/** Below the 15 s after which the provider gives up. */
const recordTimeoutMs = 5_000;

/** What counts as a wish for good; anything else that people write is none of our business. */
const STOP_WORDS = new Set(['STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT']);
const START_WORDS = new Set(['START', 'YES', 'UNSTOP']);

/** A WhatsApp number is the phone's own: who writes STOP there wants no text message either. */
const number = z.string().regex(/^(?:whatsapp:)?\+[1-9]\d{6,14}$/);
const providerId = z.string().regex(/^[A-Za-z0-9]{1,64}$/);

const inboundForm = z.object({
  MessageSid: providerId,
  From: number,
  Body: z.string(),
  /** The provider's own reading of the text, where its keywords are configured, in any language. */
  OptOutType: z.string().optional(),
});

const statusForm = z.object({
  MessageSid: providerId,
  MessageStatus: z.enum(smsStatuses),
  ErrorCode: z
    .string()
    .regex(/^\d{1,6}$/)
    .optional(),
  To: number.optional(),
});

/** Stands for the send in the address that the worker gave to the provider. */
const sendHash = z.string().regex(/^[0-9a-f]{32}$/);

/** The provider's error for a number whose owner asked for silence. */
const optedOutCode = 21_610;

/**
 * `POST /webhooks/twilio/inbound`: what people answer; STOP and START decide whether they are texted.
 * `POST /webhooks/twilio/status`: how a message fared.
 *
 * Both take the provider's signature in place of a token. What is signed but
 * makes no sense here is answered with success: an error would only bring it
 * again. Nothing that people wrote, and no number, is logged.
 */
export function twilioWebhookRoutes({ authToken, baseUrl, reports, metrics }: TwilioWebhookRoutesOptions): Router {
  const router = Router();
  if (authToken === undefined || baseUrl === undefined) return router;
  const requests = metrics.counter('sms_webhooks_total', 'Requests of the provider of text messages, by what became of them', ['webhook', 'outcome']);
  const form = text({ type: 'application/x-www-form-urlencoded', limit: formLimit });

  const genuine = (webhook: string, request: Request): Record<string, string> => {
    const body: unknown = request.body;
    const fields = new URLSearchParams(typeof body === 'string' ? body : '');
    const url = `${baseUrl.replace(/\/+$/, '')}${request.originalUrl}`;
    if (signatureMatches(request.get('x-twilio-signature'), { authToken, url, form: fields })) return Object.fromEntries(fields);
    requests.inc({ webhook, outcome: 'forged' });
    throw new HttpError(
      403,
      'bad_signature',
      'The signature does not match: check SMS_API_SECRET, and SMS_WEBHOOK_BASE_URL against the address the provider calls.',
    );
  };

  router.post('/webhooks/twilio/inbound', form, async (request, response) => {
    const message = inboundForm.safeParse(genuine('inbound', request));
    const optsOut = message.success ? wish(message.data) : undefined;
    if (!message.success || optsOut === undefined) {
      requests.inc({ webhook: 'inbound', outcome: 'ignored' });
      return answerNothing(response);
    }
    const keyword = { providerId: message.data.MessageSid, number: phoneOf(message.data.From), optsOut };
    const first = await withDeadline('noting an opt-out', recordTimeoutMs, reports.keyword(keyword));
    requests.inc({ webhook: 'inbound', outcome: first ? (optsOut ? 'opted_out' : 'opted_in') : 'repeated' });
    answerNothing(response);
  });

  router.post('/webhooks/twilio/status', form, async (request, response) => {
    const fields = statusForm.safeParse(genuine('status', request));
    if (!fields.success) {
      requests.inc({ webhook: 'status', outcome: 'ignored' });
      return void response.status(204).end();
    }
    const { MessageSid, MessageStatus: status, ErrorCode, To } = fields.data;
    const errorCode = ErrorCode === undefined || ErrorCode === '0' ? null : Number(ErrorCode);
    const send = sendHash.safeParse(request.query['send']);
    const report = {
      providerId: MessageSid,
      status,
      errorCode,
      sendHash: send.success ? send.data : null,
      optOut: errorCode === optedOutCode && To !== undefined ? phoneOf(To) : null,
    };
    const news = await withDeadline('recording a status', recordTimeoutMs, reports.status(report));
    requests.inc({ webhook: 'status', outcome: news ? 'recorded' : 'repeated' });
    response.status(204).end();
  });
  return router;
}

/** True for out, false for in again, undefined for anything else. */
function wish({ Body, OptOutType }: z.output<typeof inboundForm>): boolean | undefined {
  const word = (OptOutType ?? Body).trim().toUpperCase();
  if (STOP_WORDS.has(word)) return true;
  if (START_WORDS.has(word)) return false;
  return undefined;
}

function phoneOf(address: string): string {
  return address.replace('whatsapp:', '');
}

/** TwiML without an instruction: the provider sends nothing back to the person. */
function answerNothing(response: Response): void {
  response.type('text/xml').send('<?xml version="1.0" encoding="UTF-8"?><Response/>');
}
