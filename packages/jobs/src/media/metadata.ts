import { z } from 'zod';
import type { FailureClass, MediaWarning } from './failures.ts';
import type { MediaKind } from './format.ts';

/**
 * The version of everything that decides what the outputs look like: sizes,
 * codecs, qualities. Part of every output key, so raising it makes new objects
 * beside the old ones and never changes an object that clients have cached.
 */
export const PIPELINE_VERSION = 2;

/** One output, as clients find it. */
export interface DerivativeRecord {
  readonly key: string;
  readonly url: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly width?: number;
  readonly height?: number;
}

/** Set when the outputs are there. */
export interface DoneProcessing {
  readonly state: 'done';
  readonly pipelineVersion: number;
  readonly sourceKey: string;
  readonly sourceSha256: string;
  /** What the store called this state of the source: a duplicate is told from it without a download. */
  readonly sourceEtag: string;
  /** In what the outputs are less than perfect; mostly empty. */
  readonly warnings: readonly MediaWarning[];
}

/** Set when there will be none. */
export interface FailedProcessing {
  readonly state: 'failed';
  readonly pipelineVersion: number;
  readonly sourceKey: string;
  /** Stable, of the closed list in `failures.ts`. */
  readonly code: string;
  /** Transient ones may go better when the job is replayed. */
  readonly class: FailureClass;
  /** For people. */
  readonly reason: string;
}

/** What can be shown before the picture is loaded. */
export interface Placeholder {
  /** Base64 of a ThumbHash (some 25 bytes, evanw.github.io/thumbhash): proportions, colours, alpha. */
  readonly thumbhash: string;
  /** A picture of a few hundred bytes as a `data:` address, for clients that know no ThumbHash. */
  readonly dataUri: string;
}

/** What a sound looks like: one byte of peak volume for each of up to 256 equal parts. */
export interface WaveformRecord {
  readonly durationMs: number;
  /** Base64 of unsigned bytes, 0 silence to 255 full scale. */
  readonly peaks: string;
  /** Of sounds only, and only what the operator asked for. */
  readonly exports?: WaveformExports;
}

/** The waveform in the small forms of other chats; how each is made: `waveform/exports.ts`. */
export interface WaveformExports {
  /** `duration_secs` with its fraction, and bytes of 0 to 255 in base64. */
  readonly discord?: { readonly duration_secs: number; readonly waveform: string };
  /** Base64 of 63 bytes: 100 values of 5 bits. Missing for less than 13 ms. */
  readonly telegram?: string;
  /** Base64 of 64 bytes of 0 to 100. */
  readonly whatsapp?: string;
}

/** `messages.media_metadata` after success. Keys that the app keeps there beside these stay. */
export interface MediaMetadata {
  readonly kind: MediaKind;
  readonly processing: DoneProcessing;
  readonly source: { readonly format: string; readonly sizeBytes: number; readonly [detail: string]: unknown };
  readonly variants: Readonly<Record<string, DerivativeRecord>>;
  readonly width?: number;
  readonly height?: number;
  readonly durationMs?: number;
  readonly waveform?: WaveformRecord;
  readonly placeholder?: Placeholder;
  readonly [detail: string]: unknown;
}

/** As much of a stored record as decides whether it still holds. */
const storedMetadata = z.looseObject({
  processing: z.looseObject({
    state: z.literal('done'),
    pipelineVersion: z.literal(PIPELINE_VERSION),
    sourceKey: z.string(),
    sourceSha256: z.string(),
    sourceEtag: z.string(),
    warnings: z.array(z.looseObject({ code: z.string(), reason: z.string() })),
  }),
  variants: z.record(z.string(), z.looseObject({ key: z.string(), url: z.string() })),
});

/** A finished record of this pipeline version; undefined for anything else that may lie in the column. */
export function readDone(stored: unknown): MediaMetadata | undefined {
  const parsed = storedMetadata.safeParse(stored);
  return parsed.success ? (parsed.data as unknown as MediaMetadata) : undefined;
}

/** Where all that was ever made for a message lies. */
export function messagePrefix(messageId: string): string {
  return `media/${messageId}/`;
}

/**
 * Where an output lies. The same source makes the same key, so a second run
 * writes what is there already, and another source for the same message does
 * not collide with what clients cached.
 */
export function derivativeKey(messageId: string, sourceSha256: string, fileName: string): string {
  return `${messagePrefix(messageId)}v${PIPELINE_VERSION}-${sourceSha256.slice(0, 16)}/${fileName}`;
}
