import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type JobContext, PermanentFailure } from '@backhaul/queue/job';
import { type MediaWarning, mediaFailure } from '../failures.ts';
import { mediaHandler } from '../process.ts';
import type { MediaPorts, OriginalBytes, RenderedImage, Variant } from '../ports.ts';
import type { MadeFile, Ready } from '../recipe.ts';
import { PCM_RATE } from '../waveform/meter.ts';

/** Largest first; the last one made is the thumbnail, which stands still. */
const IMAGE_VARIANTS: readonly Variant[] = [
  { name: 'full', maxPx: 2048, animated: true },
  { name: 'medium', maxPx: 1024 },
  { name: 'thumb', maxPx: 320 },
];

/** What decoders and encoders working on files may leave beside the original, which is in memory: HEIC opens to a large JPEG. */
const WORKING_BYTES = 64 * 1024 * 1024;

/** The most of a job's minute that an MP4 of an animation may take: the animation itself is there already, and must not be lost to it. */
const MP4_TIMEOUT_MS = 25_000;

/** The work of `media.process-image`. In memory: pictures are small, and the decoder is quicker on bytes than on a file. */
export const processImageHandler = mediaHandler<OriginalBytes>({
  kind: 'image',
  roomFor: (sizeBytes) => sizeBytes + WORKING_BYTES,
  fetch: (original, _folder, options) => original.read(options),
  head: ({ bytes }) => bytes,
  async make(original, folder, context) {
    const { ports, signal, attempt } = context;
    const { bytes, format } = original;
    const image = await ports.images.render(bytes, { format, variants: IMAGE_VARIANTS, folder, attempt, signal });
    const { width, height, animated, hasAlpha, placeholder, source, warnings } = image;
    const smallest = image.variants.at(-1);
    const video = animated && format === 'gif' && ports.settings.animatedGifToMp4 ? await tryMp4(original, folder, context) : NO_VIDEO;
    return {
      files: [...filesOf(image), ...video.files],
      media: 'full',
      ...(smallest === undefined ? {} : { thumbnail: smallest.name }),
      warnings: [...warnings, ...video.warnings],
      details: { width, height, animated, hasAlpha, placeholder, source },
    };
  },
  async makeOnly(only, _facts, original, folder, context) {
    const { ports, signal, attempt } = context;
    const { bytes, format } = original;
    // Not tried but needed: an earlier run has promised it.
    const videos = only.has('video') ? [await makeMp4(original, folder, context)] : [];
    const pictures = new Set([...only].filter((name) => name !== 'video'));
    if (pictures.size === 0) return videos;
    return [...filesOf(await ports.images.render(bytes, { format, variants: IMAGE_VARIANTS, only: pictures, folder, attempt, signal })), ...videos];
  },
});

function filesOf({ variants }: RenderedImage): MadeFile[] {
  return variants.map(({ bytes, ...facts }) => ({ ...facts, body: bytes }));
}

/** What became of an animation beside its pictures. */
interface AnimationVideo {
  readonly files: readonly MadeFile[];
  readonly warnings: readonly MediaWarning[];
}

const NO_VIDEO: AnimationVideo = { files: [], warnings: [] };

/** The MP4 is an extra: where it cannot be made, the animation is shown without. */
async function tryMp4(original: Ready<OriginalBytes>, folder: string, context: JobContext<MediaPorts>): Promise<AnimationVideo> {
  try {
    return { files: [await makeMp4(original, folder, context)], warnings: [] };
  } catch (error) {
    context.signal.throwIfAborted();
    // Anything else may go better in another try.
    if (!(error instanceof PermanentFailure)) throw error;
    return { files: [], warnings: [{ code: 'animation_not_video', reason: `there is no MP4 of the animation: ${error.message}` }] };
  }
}

/** @throws {PermanentFailure} where another try would not help, also when it takes too long */
async function makeMp4({ bytes, sizeBytes }: Ready<OriginalBytes>, folder: string, { ports, attempt, signal }: JobContext<MediaPorts>): Promise<MadeFile> {
  const file = join(folder, 'animation.gif');
  const video = join(folder, 'video.mp4');
  const tooLong = AbortSignal.timeout(MP4_TIMEOUT_MS);
  await writeFile(file, bytes, { signal });
  try {
    const { width, height } = await ports.videos.toMp4(
      { file, format: 'gif', sizeBytes },
      { video, poster: join(folder, 'poster.jpg'), thumb: join(folder, 'thumb.jpg') },
      {
        maxDurationMs: ports.limits.maxDurationMs.video,
        attempt,
        signal: AbortSignal.any([signal, tooLong]),
        pcmRate: PCM_RATE,
        onPcm: () => undefined,
        progress: () => undefined,
      },
    );
    return { name: 'video', extension: 'mp4', contentType: 'video/mp4', body: { file: video }, width, height };
  } catch (error) {
    signal.throwIfAborted();
    if (tooLong.aborted) throw mediaFailure('timeout', `it took longer than ${MP4_TIMEOUT_MS} ms`, { cause: error });
    throw error;
  }
}
