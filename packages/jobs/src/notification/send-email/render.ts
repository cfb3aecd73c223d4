/** A mail's readable parts. */
export interface RenderedMail {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** Longer subjects are cut off by every client; RFC 5322 allows 998 octets in a line. */
const maxSubjectLength = 200;

/**
 * Makes a mail of a notification's title and body, as HTML and as text.
 *
 * Both are somebody's words: they are placed, never evaluated. In HTML they
 * are escaped, in the subject line breaks become spaces.
 */
export function renderMail({ title, body }: { readonly title: string; readonly body: string }): RenderedMail {
  const heading = oneLine(title);
  const text = lines(body).join('\n');
  const paragraphs = lines(body)
    .join('\n')
    .split(/\n{2,}/)
    .map((paragraph) => `<p style="margin:0 0 16px">${escapeHtml(paragraph).replaceAll('\n', '<br>\n')}</p>`);
  return {
    subject: shorten(heading === '' ? oneLine(body) || 'Notification' : heading),
    text: heading === '' ? `${text}\n` : `${heading}\n\n${text}\n`,
    html: [
      '<!doctype html>',
      '<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"></head>',
      '<body style="margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif">',
      // dir=auto: the text's own first letter decides, so Arabic and Hebrew read from the right.
      '<div dir="auto" style="max-width:600px;margin:0 auto">',
      ...(heading === '' ? [] : [`<h1 style="font-size:20px;margin:0 0 16px">${escapeHtml(heading)}</h1>`]),
      ...paragraphs,
      '</div></body></html>',
      '',
    ].join('\n'),
  };
}

/** Escapes text for HTML content and quoted attribute values. */
function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? character);
}

/** Without line breaks and control characters: what may stand in a header. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
}

function lines(text: string): string[] {
  return text.split(/\r\n|\r|\n|\u2028|\u2029/).map((line) => line.replaceAll(/[^\P{Cc}\t]/gu, ''));
}

function shorten(subject: string): string {
  const characters = [...subject];
  return characters.length <= maxSubjectLength ? subject : `${characters.slice(0, maxSubjectLength - 1).join('')}…`;
}
