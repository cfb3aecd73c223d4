import { z } from 'zod';
import type { Say } from './say.ts';
import type { MailView } from './view.ts';

/** What a view is made with. */
export interface ViewTools {
  readonly say: Say;
  readonly brand: string;
  /** A number as the reader's locale writes it. */
  number(value: number): string;
}

/** One kind of mail: which data it needs, and what it says. */
export interface MailTemplate<Data extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly data: Data;
  /** For previews and tests. */
  readonly example: z.input<Data>;
  view(data: z.output<Data>, tools: ViewTools): MailView;
}

/** A template whose data and view are typed by its schema, as one among many. */
export function defineTemplate<Data extends z.ZodType>(template: MailTemplate<Data>): MailTemplate {
  return { ...template, view: (data, tools) => template.view(template.data.parse(data), tools) };
}

/**
 * Somebody's words in one line: without control characters, and without the
 * marks that turn the direction of writing, which could make `exe.gpj` of a name.
 */
export function oneLine(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .replaceAll(/[\u202a-\u202e\u2066-\u2069]/g, '')
    .trim();
}

/** A short text by somebody: a name, a file's name, a device. */
export const label = (max = 200) => z.string().max(max).transform(oneLine).pipe(z.string().min(1, 'expected some text'));

/** Where a button leads. */
export const link = z.url({ protocol: /^https$/, error: 'expected an https:// URL' }).max(2_000);

/** A moment in ISO 8601 with its offset. */
export const moment = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

/** How many there are of something. */
export const count = z.int().min(0).max(1_000_000_000);
