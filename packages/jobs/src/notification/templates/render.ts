import { readFileSync } from 'node:fs';
import Handlebars from 'handlebars';
import { accountTemplates } from './account.ts';
import { activityTemplates } from './activity.ts';
import { type MailBrand, readableOn } from './brand.ts';
import type { MailTemplate } from './define.ts';
import { generalTemplates } from './general.ts';
import { readerOf } from './say.ts';
import { plainText } from './view.ts';

/** Every mail that there is. */
export const mailTemplates: readonly MailTemplate[] = [...accountTemplates, ...activityTemplates, ...generalTemplates];

/** A mail's readable parts. */
export interface RenderedMail {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** For whom, and from whom. */
export interface RenderOptions {
  readonly locale?: string | undefined;
  readonly timeZone?: string | undefined;
  readonly brand: MailBrand;
}

/** Why there is no mail. */
export interface RenderProblem {
  readonly code: 'unknown_template' | 'invalid_template_data';
  readonly detail: string;
}

/** Longer subjects are cut off by every client; RFC 5322 allows 998 octets in a line. */
const maxSubjectLength = 200;

/**
 * Fills a template. The data is checked by the template's schema and placed
 * as text: it is escaped in the HTML, is never read as a template or as a
 * message format, and cannot leave its line in the subject.
 */
export function renderTemplate(name: string, data: unknown, options: RenderOptions): RenderedMail | RenderProblem {
  const template = mailTemplates.find((each) => each.name === name);
  if (template === undefined) {
    return { code: 'unknown_template', detail: `there is no such template; there are ${mailTemplates.map((each) => each.name).join(', ')}` };
  }
  const parsed = template.data.safeParse(data);
  if (!parsed.success) {
    // Paths and rules, never values: they are people's words and codes.
    const problems = parsed.error.issues.slice(0, 10).map(({ path, message }) => `${path.join('.') || 'templateData'}: ${message}`);
    return { code: 'invalid_template_data', detail: `${name}: ${problems.join('; ')}` };
  }
  const { brand } = options;
  const { locale, say } = readerOf(options.locale, options.timeZone);
  const numbers = new Intl.NumberFormat(locale);
  const view = template.view(data, { say, brand: brand.name, number: (value) => numbers.format(value) });
  const footer = say('footer.reason', { brand: brand.name });
  return {
    subject: shorten(view.subject),
    text: plainText(
      view,
      template.name === 'generic'
        ? []
        : [
            footer,
            ...(brand.address === undefined ? [brand.name] : [`${brand.name} · ${brand.address}`]),
            ...(brand.supportUrl === undefined ? [] : [brand.supportUrl]),
          ],
    ),
    html: layoutOf(template.name)({
      ...view,
      locale,
      brand: { ...brand, onColor: readableOn(brand.color) },
      footer,
      help: say('footer.help'),
      buttonHint: say('button.hint'),
    }),
  };
}

const layouts = new Map<string, Handlebars.TemplateDelegate>();
const { compile } = Handlebars.create();

/** The compiled HTML of a template, read once. Only files of this folder are ever compiled. */
function layoutOf(name: string): Handlebars.TemplateDelegate {
  let layout = layouts.get(name);
  if (layout === undefined) {
    const source = readFileSync(new URL(`./compiled/${name}.html`, import.meta.url), 'utf8');
    // Three helpers and no others; what is looked up are own properties only (Handlebars' default, said once more at each run).
    const filled = compile(source, { knownHelpers: { each: true, if: true, unless: true }, knownHelpersOnly: true });
    layout = (view: unknown) => filled(view, { allowProtoPropertiesByDefault: false, allowProtoMethodsByDefault: false });
    layouts.set(name, layout);
  }
  return layout;
}

function shorten(subject: string): string {
  const characters = [...subject];
  return characters.length <= maxSubjectLength ? subject : `${characters.slice(0, maxSubjectLength - 1).join('')}…`;
}
