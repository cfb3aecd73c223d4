import { mailTemplates, renderTemplate } from '@backhaul/jobs/templates';
import { Router } from 'express';
import { z } from 'zod';
import { HttpError, parse } from '../http-errors.ts';

const nameParameters = z.object({ name: z.string().min(1).max(100) });
const previewQuery = z.strictObject({ locale: z.string().max(100).optional(), timeZone: z.string().max(100).optional() });

/** Nothing but what stands in the mail itself: its styles, and pictures from elsewhere. No script, no form, no frame around it. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/**
 * `GET /v1/templates`: the mails that there are, each with its example.
 * `GET /v1/templates/:name/preview?locale=&timeZone=`: the example as the HTML that people get.
 */
export function templateRoutes(): Router {
  const router = Router();
  router.get('/v1/templates', (_request, response) => {
    response.json({ templates: mailTemplates.map(({ name, example }) => ({ name, example })) });
  });
  router.get('/v1/templates/:name/preview', (request, response) => {
    const { name } = parse(nameParameters, request.params);
    const { locale, timeZone } = parse(previewQuery, request.query);
    const template = mailTemplates.find((each) => each.name === name);
    if (template === undefined)
      throw new HttpError(404, 'not_found', `name: there is no such template; there are ${mailTemplates.map((each) => each.name).join(', ')}`);
    const mail = renderTemplate(name, template.example, { locale, timeZone, brand: { name: 'Chat', color: '#1f6feb' } });
    if ('code' in mail) throw new Error(mail.detail);
    response.set({ 'content-security-policy': POLICY, 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' }).type('html').send(mail.html);
  });
  return router;
}
