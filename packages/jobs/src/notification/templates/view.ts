/** What one mail says, block by block; a template shows some of the blocks. All of it is text: nothing here is markup. */
export interface MailView {
  readonly subject: string;
  /** Shown by mail programs behind the subject. */
  readonly preheader: string;
  readonly heading: string;
  /** Each is a list of lines. */
  readonly paragraphs: readonly (readonly string[])[];
  readonly code?: string;
  readonly facts?: readonly { readonly label: string; readonly value: string }[];
  readonly chats?: readonly { readonly name: string; readonly count: string; readonly preview?: string | undefined }[];
  readonly figures?: readonly { readonly value: string; readonly label: string }[];
  readonly picture?: { readonly url: string; readonly alt: string } | undefined;
  readonly action?: { readonly label: string; readonly url: string } | undefined;
  readonly closing?: readonly string[];
}

/** The plain text counterpart: the same blocks in the same order. */
export function plainText(view: MailView, footer: readonly string[]): string {
  const blocks = [
    view.heading,
    ...view.paragraphs.map((lines) => lines.join('\n')),
    view.code ?? '',
    (view.facts ?? []).map(({ label, value }) => `${label}: ${value}`).join('\n'),
    (view.figures ?? []).map(({ value, label }) => `${value} ${label}`).join('\n'),
    (view.chats ?? []).map(({ name, count, preview }) => `${name} (${count})${preview === undefined ? '' : `\n  ${preview}`}`).join('\n'),
    view.picture === undefined ? '' : `${view.picture.alt}: ${view.picture.url}`,
    view.action === undefined ? '' : `${view.action.label}:\n${view.action.url}`,
    ...(view.closing ?? []),
    // The separator that mail programs know as the beginning of what is not the message.
    ...(footer.length === 0 ? [] : [`-- \n${footer.join('\n')}`]),
  ];
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`;
}
