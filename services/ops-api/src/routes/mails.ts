import { EMAIL_STATUSES, type EmailQueue, type MailSuppressions } from '@backhaul/database';
import { parseAddress } from '@backhaul/jobs/notification';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { HttpError, parse } from '../http-errors.ts';
import { jsonBody, refuseUnreadable } from '../json-body.ts';
import { pageSize } from './parameters.ts';

const queueQuery = z.strictObject({
  status: z.enum(EMAIL_STATUSES, { error: `expected ${EMAIL_STATUSES.join(', ')}` }).optional(),
  limit: pageSize,
  /** The message id of the last mail of the page before. */
  after: z.string().min(1).max(512).optional(),
});

const REASONS = ['manual', 'complaint'] as const;
const address = z.string().transform((text, context) => {
  const parsed = parseAddress(text);
  if (parsed !== undefined) return parsed;
  context.addIssue('expected one plain address such as someone@example.com');
  return z.NEVER;
});
const suppressionId = z.string().regex(/^[0-9a-f]{64}$/, 'expected the id of a suppression');
const suppressionsQuery = z.strictObject({ address: address.optional(), limit: pageSize, after: suppressionId.optional() });
const suppressionBody = z.strictObject({ address, reason: z.enum(REASONS, { error: `expected ${REASONS.join(', ')}` }).default('manual') });
const suppressionParameters = z.object({ id: suppressionId });

/** What the routes need. */
export interface MailRoutesOptions {
  readonly emails: EmailQueue;
  readonly suppressions: MailSuppressions;
  /** Guards what changes something. */
  readonly authorized: RequestHandler;
}

/**
 * `GET /v1/email-queue?status=&limit=&after=` every mail on record, the newest first, the recipients masked.
 * `GET /v1/mail-suppressions?address=&limit=&after=` who is mailed no more, the newest first, or whether somebody is;
 * `POST /v1/mail-suppressions` adds somebody (`address`, `reason`), `DELETE /v1/mail-suppressions/:id` takes somebody off.
 */
export function mailRoutes({ emails, suppressions, authorized }: MailRoutesOptions): Router {
  const router = Router();
  router.get('/v1/email-queue', async (request, response) => {
    const query = parse(queueQuery, request.query);
    const page = await emails.list(query);
    response.json({ emails: page, next: page.length === query.limit ? (page.at(-1)?.messageId ?? null) : null });
  });
  router.get('/v1/mail-suppressions', async (request, response) => {
    const { limit, after, address: wanted } = parse(suppressionsQuery, request.query);
    const page = await suppressions.list({ limit, afterId: after, address: wanted });
    response.json({ suppressions: page, next: page.length === limit ? (page.at(-1)?.id ?? null) : null });
  });
  router.post('/v1/mail-suppressions', authorized, jsonBody, refuseUnreadable, async (request: Request, response: Response) => {
    const { address: added, reason } = parse(suppressionBody, request.body);
    response.status(201).json(await suppressions.add(added, { reason }));
  });
  router.delete('/v1/mail-suppressions/:id', authorized, async (request, response) => {
    const { id } = parse(suppressionParameters, request.params);
    if (!(await suppressions.remove(id))) throw new HttpError(404, 'not_found', 'id: there is no such suppression');
    response.json({ removed: 1 });
  });
  return router;
}
