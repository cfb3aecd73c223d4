import { writeFile } from 'node:fs/promises';
import { type RenderedMail, brandOf, brandsVariable, mailTemplates, renderTemplate } from '@backhaul/jobs/templates';
import { loadConfig } from '@backhaul/runtime';
import { z } from 'zod';
import type { Connections } from '../connections.ts';
import { CommandFailure, EXIT, type ExitCode } from '../exit-codes.ts';
import { type Terminal, printable, table } from '../terminal.ts';

/** The looks are the worker's: a preview without them would show another sender. */
const brandsConfig = z.object({ MAIL_BRANDS: brandsVariable().optional() });

/** `backhaul templates list`: the mails that there are, and what each needs. */
export async function listTemplates(_connections: Connections, terminal: Terminal): Promise<ExitCode> {
  terminal.answer({ templates: mailTemplates.map(({ name, example }) => ({ name, example })) }, () =>
    table(
      ['template', 'templateData'],
      mailTemplates.map(({ name, example }) => [name, Object.keys(example as object).join(', ')]),
    ),
  );
  return EXIT.ok;
}

/** Which mail to show, and how. */
export interface PreviewOptions {
  readonly name: string;
  readonly locale?: string | undefined;
  readonly timeZone?: string | undefined;
  readonly tenant?: string | undefined;
  /** Where the HTML goes. */
  readonly out?: string | undefined;
}

/** `backhaul templates preview <name>`: the mail of the template's example: its text here, its HTML in a file. Asks no server. */
export async function previewTemplate({ env }: Connections, terminal: Terminal, options: PreviewOptions): Promise<ExitCode> {
  const { name, locale, timeZone, tenant, out } = options;
  const template = mailTemplates.find((each) => each.name === name);
  if (template === undefined)
    throw new CommandFailure(EXIT.notFound, 'not_found', `there is no template ${name}; there are ${mailTemplates.map((each) => each.name).join(', ')}`);
  const brand = brandOf(loadConfig(brandsConfig, env).MAIL_BRANDS, tenant);
  const mail = renderTemplate(name, template.example, { locale, timeZone, brand });
  if ('code' in mail) throw new CommandFailure(EXIT.failed, mail.code, mail.detail);
  if (out !== undefined) await write(out, mail);
  terminal.answer({ name, locale: locale ?? 'en', ...mail, out: out ?? null }, () =>
    [`Subject: ${mail.subject}`, '', ...mail.text.split('\n').map(printable), ...(out === undefined ? [] : [`HTML: ${out}`])].join('\n'),
  );
  return EXIT.ok;
}

async function write(file: string, { html }: RenderedMail): Promise<void> {
  try {
    await writeFile(file, html);
  } catch (error) {
    throw new CommandFailure(EXIT.usage, 'not_writable', `${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
}
