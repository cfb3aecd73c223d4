import { type Formats, IntlMessageFormat } from 'intl-messageformat';
import { de } from './locales/de.ts';
import { en, type MessageKey } from './locales/en.ts';
import { es } from './locales/es.ts';

/** The catalogs by language. */
export const catalogs = { en, de, es } as const satisfies Record<string, Readonly<Record<MessageKey, string>>>;

/** A value inside a text: user text as a string, numbers and times in their own type, to be written as the locale does. */
export type MessageValues = Readonly<Record<string, string | number | Date>>;

/** Says one text of the catalog in the reader's language. */
export type Say = (key: MessageKey, values?: MessageValues) => string;

/** Whose eyes a mail is for. */
export interface Reader {
  /** The language tag whose habits dates and numbers follow; its language is one of the catalogs. */
  readonly locale: string;
  readonly timeZone: string;
  readonly say: Say;
}

/** Keys × locales × time zones in use: parsing a text costs more than formatting it. Emptied when full, so that made-up zones cannot fill the memory. */
const formatters = new Map<string, IntlMessageFormat>();
const MAX_FORMATTERS = 5_000;

/**
 * The reader of a locale and a time zone. A region without a catalog speaks
 * its language (es-MX → es), an unknown language English; times without a
 * known zone are given in UTC, and every time names its zone.
 */
export function readerOf(locale: string | undefined, timeZone: string | undefined): Reader {
  const tag = knownLocale(locale) ?? 'en';
  const language = tag.slice(0, 2) as keyof typeof catalogs;
  const zone = knownTimeZone(timeZone);
  const formats = formatsOf(zone);
  return {
    locale: tag,
    timeZone: zone,
    say(key, values = {}) {
      const id = `${tag} ${zone} ${key}`;
      let formatter = formatters.get(id);
      if (formatter === undefined) {
        if (formatters.size >= MAX_FORMATTERS) formatters.clear();
        // ignoreTag: `<` is a character here, mails get their markup from the templates alone.
        formatter = new IntlMessageFormat(catalogs[language][key], tag, formats, { ignoreTag: true });
        formatters.set(id, formatter);
      }
      return String(formatter.format(isolated(values)));
    },
  };
}

/** The canonical tag if its language has a catalog. */
export function knownLocale(locale: string | undefined): string | undefined {
  if (locale === undefined) return undefined;
  try {
    // Phones write es_MX.
    const { baseName, language } = new Intl.Locale(locale.replaceAll('_', '-'));
    return Object.hasOwn(catalogs, language) ? baseName : undefined;
  } catch {
    return undefined;
  }
}

function knownTimeZone(timeZone: string | undefined): string {
  if (timeZone === undefined) return 'UTC';
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone;
  } catch {
    return 'UTC';
  }
}

function formatsOf(timeZone: string): Partial<Formats> {
  return {
    date: { day: { timeZone, day: 'numeric', month: 'long', year: 'numeric' } },
    time: { moment: { timeZone, day: 'numeric', month: 'long', year: 'numeric', hour: 'numeric', minute: '2-digit', timeZoneName: 'short' } },
  };
}

/** Right-to-left letters. */
const rightToLeft = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** A right-to-left name inside a left-to-right sentence is closed off, or it would carry the words beside it along. */
function isolated(values: MessageValues): Record<string, string | number | Date> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === 'string' && rightToLeft.test(value) ? `\u2068${value}\u2069` : value]),
  );
}
