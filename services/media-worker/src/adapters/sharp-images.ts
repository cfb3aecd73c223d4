import type { Images, RenderedImage, RenderedVariant } from '@backhaul/jobs/media';
import { PermanentFailure } from '@backhaul/queue/job';
import sharp from 'sharp';

/** How pictures are decoded. */
export interface SharpImagesOptions {
  /** The most pixels, all frames that would be decoded counted. Default 64 million. */
  readonly limitInputPixels?: number;
  /** The longest that one step in libvips may take. Default 30 s. */
  readonly stepTimeoutSeconds?: number;
}

/** The only decoders that stay: everything else that libvips can open (SVG, PDF, TIFF, its own format, ..) is attack surface. */
const LOADERS = ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp', 'VipsForeignLoadNsgif', 'VipsForeignLoadHeif'];

/** Measured: effort 2 is 2.5 times as quick as the default 4 and 1.5 % larger. */
const WEBP = { quality: 80, effort: 2 } as const;

const NONE = { thumbhash: '', dataUri: '' };

/** Pictures by sharp. Sets libvips up for the whole process: one thread per picture, no cache, few decoders. */
export function sharpImages(options: SharpImagesOptions = {}): Images {
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: LOADERS });
  // The cache only helps where inputs repeat; here it only holds memory.
  sharp.cache(false);
  // Jobs run side by side already; threads per picture on top of that multiply.
  sharp.concurrency(1);
  const limits = { limitInputPixels: options.limitInputPixels ?? 64_000_000, limitInputChannels: 5, failOn: 'warning', sequentialRead: true } as const;
  const timeout = { seconds: options.stepTimeoutSeconds ?? 30 };

  return {
    async render(source, { variants, signal }): Promise<RenderedImage> {
      const [largest, ...smaller] = variants;
      if (largest === undefined) throw new TypeError('no variants were asked for');
      try {
        const header = await sharp(source, limits).metadata();
        signal.throwIfAborted();
        const { width, height } = header.autoOrient;
        // The one decode: libvips shrinks JPEG and WebP while it loads them. Later sizes are made from these pixels.
        const { data, info } = await sharp(source, limits)
          .timeout(timeout)
          .autoOrient()
          .resize(largest.maxPx, largest.maxPx, { fit: 'inside', withoutEnlargement: true })
          .toColourspace('srgb')
          .raw({ depth: 'uchar' })
          .toBuffer({ resolveWithObject: true });
        signal.throwIfAborted();
        const raw = { width: info.width, height: info.height, channels: info.channels };
        const rendered: RenderedVariant[] = [];
        let longerSide = Number.POSITIVE_INFINITY;
        for (const { name, maxPx } of [largest, ...smaller]) {
          if (rendered.length > 0 && maxPx >= longerSide) continue;
          const pixels = sharp(data, { raw, limitInputPixels: limits.limitInputPixels }).timeout(timeout);
          const resized = rendered.length === 0 ? pixels : pixels.resize(maxPx, maxPx, { fit: 'inside', withoutEnlargement: true });
          const encoded = await resized.webp(WEBP).toBuffer({ resolveWithObject: true });
          signal.throwIfAborted();
          longerSide = Math.max(encoded.info.width, encoded.info.height);
          rendered.push({ name, width: encoded.info.width, height: encoded.info.height, bytes: encoded.data, contentType: 'image/webp', extension: 'webp' });
        }
        return { width, height, animated: (header.pages ?? 1) > 1, hasAlpha: header.hasAlpha, placeholder: NONE, warnings: [], source: {}, variants: rendered };
      } catch (error) {
        signal.throwIfAborted();
        throw classify(error);
      }
    },
    placeholder: () => Promise.resolve(NONE),
  };
}

/** libvips has no error codes: its words are all there is. Unknown words about one input are that input's fault. */
function classify(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { message } = error;
  if (/memory|timeout|ENOSPC|EMFILE/i.test(message)) return error;
  if (/exceeds pixel limit|exceeds .*channel|dimensions? .*too large|too large/i.test(message))
    return new PermanentFailure('too_large', `the picture is too large to decode: ${message}`, { cause: error });
  if (/unsupported|blocked|not a known|no known/i.test(message))
    return new PermanentFailure('unsupported', `the picture is in a format that is not accepted: ${message}`, { cause: error });
  return new PermanentFailure('corrupt', `the picture cannot be decoded: ${message}`, { cause: error });
}
