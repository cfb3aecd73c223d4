import { PermanentFailure } from '@backhaul/queue/job';
import { type MailBrand, type RenderedMail, renderTemplate } from '../templates/index.ts';

/** The fields of a notification that make its mail. */
interface MailFields {
  readonly title: string;
  readonly body: string;
  readonly template?: string | undefined;
  readonly templateData?: Readonly<Record<string, unknown>> | undefined;
  readonly locale?: string | undefined;
  readonly timeZone?: string | undefined;
}

/**
 * Makes the mail of a notification: by its template, or of its title and body.
 *
 * @throws {PermanentFailure} `unknown_template`, `invalid_template_data`: no later try can be better
 */
export function renderMail({ title, body, template, templateData, locale, timeZone }: MailFields, brand: MailBrand): RenderedMail {
  const rendered =
    template === undefined
      ? renderTemplate('generic', { title, body }, { locale, timeZone, brand })
      : renderTemplate(template, templateData ?? {}, { locale, timeZone, brand });
  if (!('code' in rendered)) return rendered;
  switch (rendered.code) {
    case 'unknown_template':
      throw new PermanentFailure('unknown_template', rendered.detail);
    case 'invalid_template_data':
      throw new PermanentFailure('invalid_template_data', rendered.detail);
  }
}
