import { mediaHandler } from '../process.ts';
import type { OriginalBytes } from '../ports.ts';

/** Largest first; the last one made is the thumbnail. */
const IMAGE_VARIANTS = [
  { name: 'full', maxPx: 2048 },
  { name: 'medium', maxPx: 1024 },
  { name: 'thumb', maxPx: 320 },
] as const;

/** The work of `media.process-image`. In memory: pictures are small, and the decoder is quicker on bytes than on a file. */
export const processImageHandler = mediaHandler<OriginalBytes>({
  kind: 'image',
  fetch: ({ originals }, key, _folder, options) => originals.read(key, options),
  head: ({ bytes }) => bytes,
  async make({ bytes }, _folder, { ports, signal }) {
    const image = await ports.images.render(bytes, IMAGE_VARIANTS, signal);
    const smallest = image.variants.at(-1);
    return {
      files: image.variants.map(({ name, width, height, bytes: body }) => ({
        name,
        width,
        height,
        body,
        extension: image.extension,
        contentType: image.contentType,
      })),
      media: 'full',
      ...(smallest === undefined ? {} : { thumbnail: smallest.name }),
      details: { width: image.width, height: image.height, animated: image.animated },
    };
  },
});
