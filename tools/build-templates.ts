/**
 * Compiles the mails' MJML to HTML with Handlebars placeholders, which is
 * committed: the workers need no MJML, and its 60 MB stay out of the images.
 *
 *   node tools/build-templates.ts
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import mjml2html from 'mjml';

/** Where the mails are, seen from the repository's root. */
export const TEMPLATES_DIR = 'packages/jobs/src/notification/templates';

/** The HTML of every template by its name. */
export async function buildTemplates(root: string): Promise<Map<string, string>> {
  const sources = join(root, TEMPLATES_DIR, 'mjml');
  const layout = readFileSync(join(sources, 'layout.mjml'), 'utf8');
  const names = readdirSync(sources).flatMap((file) => (file.endsWith('.mjml') && file !== 'layout.mjml' ? [file.slice(0, -'.mjml'.length)] : []));
  const built = new Map<string, string>();
  for (const name of names.toSorted()) {
    const content = readFileSync(join(sources, `${name}.mjml`), 'utf8').replaceAll(/<!-- block: ([a-z]+) -->/g, (_, block: string) =>
      readFileSync(join(sources, 'blocks', `${block}.mjml`), 'utf8'),
    );
    // A function, because `$` in a replacement text has a meaning.
    const source = layout.replace('<!-- content -->', () => content);
    // Placeholders stand where MJML expects colours and numbers: its validation would refuse them. No fonts: nothing is loaded from third parties.
    const { html } = await mjml2html(source, { validationLevel: 'skip', beautify: false, minify: false, fonts: {} });
    built.set(name, `${withoutBlankLines(html)}\n`);
  }
  return built;
}

function withoutBlankLines(html: string): string {
  return html
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n');
}

if (import.meta.main) {
  const root = dirname(import.meta.dirname);
  const compiled = join(root, TEMPLATES_DIR, 'compiled');
  mkdirSync(compiled, { recursive: true });
  for (const [name, html] of await buildTemplates(root)) writeFileSync(join(compiled, `${name}.html`), html);
}
