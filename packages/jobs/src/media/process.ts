import { type JobContext, type JobHandler, type Outcome, PermanentFailure, done, skipped } from '@backhaul/queue/job';
import { failpoint, pause } from '@backhaul/runtime';
import { type MediaFormat, type MediaKind, carries } from './format.ts';
import { type DerivativeRecord, type MediaMetadata, PIPELINE_VERSION, derivativeKey, readDone } from './metadata.ts';
import { noteFailure } from './note-failure.ts';
import type { FetchOptions, MediaPorts, NotFetched } from './ports.ts';

/** What the handlers read of a media event. */
export interface MediaPayload {
  readonly s3Key: string;
  readonly messageId: string;
}

/** An original that was fetched, in memory or on disk. */
interface Original {
  readonly status: 'fetched';
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** One output on its way into the store. */
export interface MadeFile {
  /** `full`, `poster`, ..: the key in `media_metadata.variants`. */
  readonly name: string;
  readonly extension: string;
  readonly contentType: string;
  readonly body: Buffer | { readonly file: string };
  readonly width?: number;
  readonly height?: number;
}

/** What a recipe made of an original. */
export interface Made {
  readonly files: readonly MadeFile[];
  /** The file that `messages.media_url` names. */
  readonly media: string;
  /** The file that `messages.thumbnail_url` names. */
  readonly thumbnail?: string;
  /** What else goes into `media_metadata`. */
  readonly details: { readonly source?: Readonly<Record<string, unknown>>; readonly [detail: string]: unknown };
}

/** What differs between pictures, videos and sounds. */
export interface Recipe<Fetched extends Original> {
  readonly kind: MediaKind;
  fetch(ports: MediaPorts, key: string, folder: string, options: FetchOptions): Promise<Fetched | NotFetched>;
  /** The first bytes of what was fetched. */
  head(original: Fetched): Buffer;
  make(original: Fetched & { readonly format: MediaFormat }, folder: string, context: JobContext<MediaPorts>): Promise<Made>;
}

/**
 * Runs a recipe between the uploads and the message row:
 *
 * 1. is the message still wanted? 2. fetch and hash the original; 3. was this
 * very original done before? 4. tell the format by its bytes; 5. make;
 * 6. store under deterministic keys; 7. publish in one update of the row, last,
 * so that nobody sees a URL before its object is there.
 *
 * A failure that is final is noted in the row as well, for the app to show.
 */
export function mediaHandler<Fetched extends Original>(recipe: Recipe<Fetched>): JobHandler<MediaPayload, MediaPorts> {
  return async (payload, context) => {
    try {
      return await processMedia(recipe, payload, context);
    } catch (error) {
      await noteFailure(error, payload, context);
      throw error;
    }
  };
}

async function processMedia<Fetched extends Original>(recipe: Recipe<Fetched>, payload: MediaPayload, context: JobContext<MediaPorts>): Promise<Outcome> {
  const { ports, signal } = context;
  const { messageId, s3Key } = payload;
  const { graceMs } = ports.limits;

  const message = await withGrace(
    graceMs,
    signal,
    () => ports.messages.find(messageId),
    (found) => found !== undefined,
  );
  if (message === undefined) return skipped('message_missing');
  if (message.deleted) return skipped('message_deleted');
  const earlier = readDone(message.metadata);

  await using folder = await ports.scratch.open();
  const maxBytes = ports.limits.maxBytes[recipe.kind];
  const original = await withGrace(
    graceMs,
    signal,
    () => recipe.fetch(ports, s3Key, folder.path, { maxBytes, signal }),
    (fetched) => fetched.status !== 'missing',
  );
  if (original.status === 'missing') {
    // Uploads may be cleaned away once they are processed; a replay must not turn that success into a failure.
    if (earlier?.processing.sourceKey === s3Key && (await allStored(earlier, context))) return done(summary(earlier, true));
    throw new PermanentFailure('source_missing', `there is no object ${s3Key} in the bucket, also not after ${graceMs} ms`);
  }
  if (original.status === 'too_large') throw new PermanentFailure('too_large', `${s3Key} is larger than the ${maxBytes} bytes that a ${recipe.kind} may have`);
  if (original.sizeBytes === 0) throw new PermanentFailure('empty', `${s3Key} has no bytes`);
  if (earlier?.processing.sourceSha256 === original.sha256 && earlier.kind === recipe.kind && (await allStored(earlier, context))) {
    return done(summary(earlier, true));
  }
  const format = await formatOf(recipe, original, s3Key, ports);
  context.progress(10);

  const made = await recipe.make({ ...original, format }, folder.path, context);
  signal.throwIfAborted();
  context.progress(85);

  const keyed = made.files.map((file) => ({ ...file, key: derivativeKey(messageId, original.sha256, `${file.name}.${file.extension}`) }));
  const stored = await Promise.all(
    keyed.map(async ({ name, key, body, contentType, width, height }): Promise<[string, DerivativeRecord]> => {
      const sizeBytes = await ports.derivatives.store(key, body, { contentType, signal });
      return [
        name,
        {
          key,
          url: ports.derivatives.url(key),
          contentType,
          sizeBytes,
          ...(width === undefined ? {} : { width }),
          ...(height === undefined ? {} : { height }),
        },
      ];
    }),
  );
  context.progress(95);
  failpoint('media.stored');

  const { source, ...details } = made.details;
  const metadata: MediaMetadata = {
    ...details,
    kind: recipe.kind,
    processing: { state: 'done', pipelineVersion: PIPELINE_VERSION, sourceKey: s3Key, sourceSha256: original.sha256 },
    source: { ...source, format, sizeBytes: original.sizeBytes },
    variants: Object.fromEntries(stored),
  };
  const mediaUrl = metadata.variants[made.media]?.url;
  if (mediaUrl === undefined) throw new Error(`the recipe for ${recipe.kind} names the file ${made.media}, which it did not make`);
  const thumbnailUrl = made.thumbnail === undefined ? null : (metadata.variants[made.thumbnail]?.url ?? null);
  signal.throwIfAborted();
  const outcome = await ports.messages.complete(messageId, { mediaUrl, thumbnailUrl, metadata });
  if (outcome !== 'stored') {
    // Deleted while we worked: nothing refers to the outputs, and nothing ever will.
    await ports.derivatives.remove(keyed.map(({ key }) => key));
    return skipped(`message_${outcome}`);
  }
  failpoint('media.published');
  context.progress(100);
  return done(summary(metadata, false));
}

async function formatOf<Fetched extends Original>(recipe: Recipe<Fetched>, original: Fetched, s3Key: string, ports: MediaPorts): Promise<MediaFormat> {
  const format = await ports.formats.sniff(recipe.head(original));
  if (format === undefined) throw new PermanentFailure('unsupported', `${s3Key} is in no format that we know`);
  if (!carries(format, recipe.kind))
    throw new PermanentFailure(
      'type_mismatch',
      `the event says ${recipe.kind}, but ${s3Key} is ${format === 'other' ? 'something else' : format} by its content`,
    );
  if (format === 'heic') throw new PermanentFailure('unsupported_heic', `${s3Key} is HEIC, which cannot be decoded here; upload it as JPEG`);
  return format;
}

/** A record is only worth something while its objects are there. */
async function allStored(metadata: MediaMetadata, { ports, signal }: JobContext<MediaPorts>): Promise<boolean> {
  const present = await Promise.all(Object.values(metadata.variants).map(({ key }) => ports.derivatives.has(key, signal)));
  return present.length > 0 && present.every(Boolean);
}

/** What the job's record keeps: enough to find the outputs, none of the bulk. */
function summary({ kind, variants, width, height, durationMs, mode }: MediaMetadata, reused: boolean): Record<string, unknown> {
  const outputs = Object.entries(variants).map(([name, { key, url, sizeBytes }]) => ({ name, key, url, sizeBytes }));
  const known = Object.entries({ width, height, durationMs, mode }).filter(([, value]) => value !== undefined);
  return { kind, reused, ...Object.fromEntries(known), outputs };
}

/** Asks again until the answer will do or the grace is over; the last answer counts. */
async function withGrace<Answer>(graceMs: number, signal: AbortSignal, ask: () => Promise<Answer>, willDo: (answer: Answer) => boolean): Promise<Answer> {
  const until = performance.now() + graceMs;
  for (;;) {
    const answer = await ask();
    const leftMs = until - performance.now();
    if (willDo(answer) || leftMs <= 0) return answer;
    await pause(Math.min(leftMs, 250), signal);
    signal.throwIfAborted();
  }
}
