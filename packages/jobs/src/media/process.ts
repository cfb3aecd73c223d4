import { type JobContext, type JobHandler, type Outcome, RetryLater, done, skipped } from '@backhaul/queue/job';
import { failpoint } from '@backhaul/runtime';
import { FACTS_FILE, type Facts, type FileFacts, readFacts, writeFacts } from './facts.ts';
import { mediaFailure } from './failures.ts';
import { withGrace } from './grace.ts';
import { type MediaFormat, type MediaKind, carries } from './format.ts';
import { type DerivativeRecord, type MediaMetadata, PIPELINE_VERSION, derivativeKey, messagePrefix, readDone } from './metadata.ts';
import { noteFailure } from './note-failure.ts';
import { makeMissing } from './make-missing.ts';
import type { MediaPorts, OriginalHead } from './ports.ts';
import type { MediaPayload, Original, Recipe } from './recipe.ts';

/** How long a job waits for another one that works on the same message. */
const BUSY_DELAY_MS = 5_000;

/**
 * Runs a recipe between the uploads and the message row:
 *
 * 1. hold the message, so that a duplicate waits; 2. is it still wanted, and is
 * this very original done already? 3. reserve room and take the original;
 * 4. tell the format by its bytes; 5. make what is missing; 6. store it under
 * deterministic keys, the facts first; 7. publish in one update of the row,
 * last, so that nobody sees a URL before its object is there.
 *
 * A failure that is final is noted in the row as well, for the app to show.
 */
export function mediaHandler<Fetched extends Original>(recipe: Recipe<Fetched>): JobHandler<MediaPayload, MediaPorts> {
  return async (payload, context) => {
    try {
      const held = await context.ports.messages.hold(payload.messageId);
      if (held === 'taken') throw new RetryLater('message_busy', BUSY_DELAY_MS, `another job works on the message ${payload.messageId}`);
      await using _held = held;
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
  if (message.deleted) return unwanted('message_deleted', messageId, context);
  const earlier = readDone(message.metadata);

  using opened = await withGrace(
    graceMs,
    signal,
    () => ports.originals.open(s3Key, signal),
    // An object without bytes may be an upload that has only begun.
    (found) => {
      if (found !== undefined && found.sizeBytes > 0) return true;
      // Asked for again, it is opened again.
      found?.[Symbol.dispose]();
      return false;
    },
  );
  if (opened === undefined) {
    // Uploads may be cleaned away once they are processed; a replay must not turn that success into a failure.
    if (earlier?.processing.sourceKey === s3Key && (await allStored(earlier, context))) return done(summary(earlier, true));
    throw mediaFailure('source_missing', `there is no object ${s3Key} in the bucket, also not after ${graceMs} ms`);
  }
  if (opened.sizeBytes === 0) throw mediaFailure('empty', `${s3Key} has no bytes`);
  const maxBytes = ports.limits.maxBytes[recipe.kind];
  if (opened.sizeBytes > maxBytes) throw tooLarge(payload, recipe.kind, maxBytes);
  const { sourceKey, sourceEtag } = earlier?.processing ?? {};
  if (earlier?.kind === recipe.kind && sourceKey === s3Key && sourceEtag === opened.etag && (await allStored(earlier, context)))
    return done(summary(earlier, true));

  await using folder = await ports.scratch.open({ reserveBytes: recipe.roomFor(opened.sizeBytes) });
  const original = await recipe.fetch(opened, folder.path, { maxBytes, signal });
  if (original.status === 'too_large') throw tooLarge(payload, recipe.kind, maxBytes);
  const format = await formatOf(recipe, original, s3Key, ports);
  context.progress(10);

  const keyOf = (fileName: string) => derivativeKey(messageId, original.sha256, fileName);
  const readKnown = async () => readFacts(await ports.derivatives.read(keyOf(FACTS_FILE), signal));
  const make = (known: Facts | undefined) => makeMissing(recipe, known, keyOf, { ...original, format }, folder.path, context);
  // Nobody was here before the first try of a message that has nothing yet; should that be wrong, the facts' key is taken.
  const known = context.attempt > 1 || earlier !== undefined ? await readKnown() : undefined;
  let made = await make(known);
  signal.throwIfAborted();
  context.progress(85);
  await assertUnchanged(s3Key, opened, context);

  if (known === undefined) {
    const { existed } = await ports.derivatives.store(keyOf(FACTS_FILE), writeFacts(made.facts), { contentType: 'application/json', signal });
    const theirs = existed ? await readKnown() : undefined;
    // A run for another event made some of the outputs, and those were made by its facts.
    if (theirs !== undefined) made = await make(theirs);
  }
  const { facts, files, sizes } = made;
  failpoint('media.facts');
  await Promise.all(
    files.map(async ({ name, extension, contentType, body }) => {
      const { sizeBytes } = await ports.derivatives.store(keyOf(`${name}.${extension}`), body, { contentType, signal });
      sizes.set(name, sizeBytes);
    }),
  );
  context.progress(95);
  failpoint('media.stored');

  const metadata: MediaMetadata = {
    ...facts.details,
    kind: recipe.kind,
    processing: {
      state: 'done',
      pipelineVersion: PIPELINE_VERSION,
      sourceKey: s3Key,
      sourceSha256: original.sha256,
      sourceEtag: opened.etag,
      warnings: facts.warnings,
    },
    source: { ...facts.details.source, format, sizeBytes: original.sizeBytes },
    variants: Object.fromEntries(
      facts.files.map((file) => [file.name, record(file, keyOf(`${file.name}.${file.extension}`), sizes.get(file.name) ?? 0, ports)]),
    ),
  };
  const mediaUrl = metadata.variants[facts.media]?.url;
  if (mediaUrl === undefined) throw new Error(`the recipe for ${recipe.kind} names the file ${facts.media}, which it did not make`);
  const thumbnailUrl = facts.thumbnail === undefined ? null : (metadata.variants[facts.thumbnail]?.url ?? null);
  signal.throwIfAborted();
  const outcome = await ports.messages.complete(messageId, { mediaUrl, thumbnailUrl, metadata });
  // Deleted while we worked: nothing refers to the outputs, and nothing ever will.
  if (outcome !== 'stored') return await unwanted(`message_${outcome}`, messageId, context);
  failpoint('media.published');
  context.progress(100);
  return done(summary(metadata, files.length === 0));
}

/** One output as clients find it. */
function record({ contentType, width, height }: FileFacts, key: string, sizeBytes: number, ports: MediaPorts): DerivativeRecord {
  return {
    key,
    url: ports.derivatives.url(key),
    contentType,
    sizeBytes,
    ...(width === undefined ? {} : { width }),
    ...(height === undefined ? {} : { height }),
  };
}

/** Nobody will ever ask for what was made for this message, by this run or an earlier one that did not come to its end. */
async function unwanted(reason: string, messageId: string, { ports }: JobContext<MediaPorts>): Promise<Outcome> {
  await ports.derivatives.removeAll(messagePrefix(messageId));
  return skipped(reason);
}

/** What was made of one state of the upload must not be shown as another's. */
async function assertUnchanged(s3Key: string, { etag }: OriginalHead, { ports, signal }: JobContext<MediaPorts>): Promise<void> {
  const now = await ports.originals.head(s3Key, signal);
  // Gone is no change: uploads may be cleaned away as soon as they were read.
  if (now !== undefined && now.etag !== etag) throw mediaFailure('source_changed', `${s3Key} was replaced by another file while it was worked on`);
}

function tooLarge({ s3Key }: MediaPayload, kind: MediaKind, maxBytes: number): Error {
  return mediaFailure('too_large', `${s3Key} is larger than the ${maxBytes} bytes that a file of the kind ${kind} may have`);
}

async function formatOf<Fetched extends Original>(recipe: Recipe<Fetched>, original: Fetched, s3Key: string, ports: MediaPorts): Promise<MediaFormat> {
  const format = await ports.formats.sniff(recipe.head(original));
  if (format === undefined) throw mediaFailure('unsupported', `${s3Key} is in no format that we know`);
  if (!carries(format, recipe.kind)) {
    throw mediaFailure('type_mismatch', `the event says ${recipe.kind}, but ${s3Key} is ${format === 'other' ? 'something else' : format} by its content`);
  }
  return format;
}

/** A record is only worth something while its objects are there. */
async function allStored(metadata: MediaMetadata, { ports, signal }: JobContext<MediaPorts>): Promise<boolean> {
  const sizes = await Promise.all(Object.values(metadata.variants).map(({ key }) => ports.derivatives.sizeOf(key, signal)));
  return sizes.length > 0 && sizes.every((sizeBytes) => sizeBytes !== undefined);
}

/** What the job's record keeps: enough to find the outputs, none of the bulk. */
function summary({ kind, variants, width, height, durationMs, road, processing }: MediaMetadata, reused: boolean): Record<string, unknown> {
  const outputs = Object.entries(variants).map(([name, { key, url, sizeBytes }]) => ({ name, key, url, sizeBytes }));
  const known = Object.entries({ width, height, durationMs, road }).filter(([, value]) => value !== undefined);
  return { kind, reused, ...Object.fromEntries(known), warnings: processing.warnings.map(({ code }) => code), outputs };
}
