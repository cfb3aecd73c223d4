/** The part of mjml that is used here; the package brings no types. */
declare module 'mjml' {
  export default function mjml2html(
    mjml: string,
    options: {
      readonly validationLevel: 'strict' | 'soft' | 'skip';
      readonly beautify?: boolean;
      readonly minify?: boolean;
      readonly fonts?: Record<string, string>;
    },
  ): Promise<{ readonly html: string; readonly errors: readonly { readonly formattedMessage: string }[] }>;
}

/** The part of html-to-text that is used here. */
declare module 'html-to-text' {
  export function convert(html: string, options: { readonly wordwrap: number | false }): string;
}
