import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mailTemplates, renderTemplate } from '@backhaul/jobs/templates';
import { convert } from 'html-to-text';
import { expect, test } from 'vitest';
import { TEMPLATES_DIR, buildTemplates } from './build-templates.ts';

const root = dirname(import.meta.dirname);

test('the compiled mails are those of the sources: run node tools/build-templates.ts after a change', async () => {
  for (const [name, html] of await buildTemplates(root)) {
    expect({ name, current: readFileSync(join(root, TEMPLATES_DIR, 'compiled', `${name}.html`), 'utf8') === html }).toEqual({ name, current: true });
  }
});

const words = (text: string) => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);

test('the plain text says what the HTML says', () => {
  for (const { name, example } of mailTemplates.filter((each) => each.name !== 'generic')) {
    const mail = renderTemplate(name, example, { locale: 'en', brand: { name: 'Chat', color: '#1f6feb' } });
    if ('code' in mail) throw new Error(mail.detail);
    const body = mail.html.slice(mail.html.indexOf('<div class="card"')).replaceAll(/<img[^>]*>/g, '');
    const text = words(mail.text);
    const missing = [...words(convert(body, { wordwrap: false }))].filter((word) => !text.has(word));
    // The address under the button is the button's own in plain text.
    expect({ name, missing: missing.filter((word) => !['if', 'the', 'button', 'does', 'not', 'work', 'open', 'this', 'address'].includes(word)) }).toEqual({
      name,
      missing: [],
    });
  }
});
