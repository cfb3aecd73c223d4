import { mediaHandler } from '../process.ts';
import type { OriginalBytes, RenderedImage, Variant } from '../ports.ts';
import type { MadeFile } from '../process.ts';

/** Largest first; the last one made is the thumbnail, which stands still. */
const IMAGE_VARIANTS: readonly Variant[] = [
  { name: 'full', maxPx: 2048, animated: true },
  { name: 'medium', maxPx: 1024 },
  { name: 'thumb', maxPx: 320 },
];

/** What a decoder working on files may leave beside the original, which is in memory: HEIC opens to a large PNG. */
const WORKING_BYTES = 64 * 1024 * 1024;

/** The work of `media.process-image`. In memory: pictures are small, and the decoder is quicker on bytes than on a file. */
export const processImageHandler = mediaHandler<OriginalBytes>({
  kind: 'image',
  roomFor: (sizeBytes) => sizeBytes + WORKING_BYTES,
  fetch: ({ originals }, key, _folder, options) => originals.read(key, options),
  head: ({ bytes }) => bytes,
  async make({ bytes, format }, folder, { ports, signal, attempt }) {
    const image = await ports.images.render(bytes, { format, variants: IMAGE_VARIANTS, folder, attempt, signal });
    const { width, height, animated, hasAlpha, placeholder, source, warnings } = image;
    const smallest = image.variants.at(-1);
    return {
      files: filesOf(image),
      media: 'full',
      ...(smallest === undefined ? {} : { thumbnail: smallest.name }),
      warnings,
      details: { width, height, animated, hasAlpha, placeholder, source },
    };
  },
  async makeOnly(only, _facts, { bytes, format }, folder, { ports, signal, attempt }) {
    return filesOf(await ports.images.render(bytes, { format, variants: IMAGE_VARIANTS, only, folder, attempt, signal }));
  },
});

function filesOf({ variants }: RenderedImage): MadeFile[] {
  return variants.map(({ bytes, ...facts }) => ({ ...facts, body: bytes }));
}
