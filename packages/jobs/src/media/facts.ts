import { z } from 'zod';
import type { MediaFormat } from './format.ts';
import type { MediaWarning } from './failures.ts';

/** One output, as it was decided before it was stored. */
export interface FileFacts {
  /** `full`, `poster`, ..: the key in `media_metadata.variants`. */
  readonly name: string;
  readonly extension: string;
  readonly contentType: string;
  readonly width?: number | undefined;
  readonly height?: number | undefined;
}

/**
 * What a run found out, stored beside its outputs and before them. A later run
 * over the same source reads it, makes only the outputs that are missing, and
 * need not decode anything when none is.
 */
export interface Facts {
  readonly format: MediaFormat;
  readonly files: readonly FileFacts[];
  /** The file that `messages.media_url` names. */
  readonly media: string;
  /** The file that `messages.thumbnail_url` names. */
  readonly thumbnail?: string | undefined;
  readonly warnings: readonly MediaWarning[];
  /** What else goes into `media_metadata`. */
  readonly details: { readonly source?: Readonly<Record<string, unknown>>; readonly [detail: string]: unknown };
}

/** The object's name beside the outputs. */
export const FACTS_FILE = 'facts.json';

const storedFacts = z.object({
  format: z.string(),
  files: z
    .array(z.object({ name: z.string(), extension: z.string(), contentType: z.string(), width: z.number().optional(), height: z.number().optional() }))
    .min(1),
  media: z.string(),
  thumbnail: z.string().optional(),
  warnings: z.array(z.object({ code: z.string(), reason: z.string() })),
  details: z.looseObject({ source: z.record(z.string(), z.unknown()).optional() }),
});

/** As bytes to store. */
export function writeFacts(facts: Facts): Buffer {
  return Buffer.from(JSON.stringify(facts));
}

/** undefined for what cannot be read: the run then makes everything anew, as if nothing were there. */
export function readFacts(stored: Buffer | undefined): Facts | undefined {
  if (stored === undefined) return undefined;
  try {
    const parsed = storedFacts.safeParse(JSON.parse(stored.toString('utf8')));
    return parsed.success ? (parsed.data as unknown as Facts) : undefined;
  } catch {
    return undefined;
  }
}
