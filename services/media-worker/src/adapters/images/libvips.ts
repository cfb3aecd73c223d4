import sharp, { type Metadata, type OutputInfo, type Sharp, type SharpOptions } from 'sharp';

/** The only decoders that stay: everything else that libvips can open (SVG, PDF, TIFF, its own format, ..) is attack surface. */
const LOADERS = ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp', 'VipsForeignLoadNsgif', 'VipsForeignLoadHeif'];

/** What one picture may take. */
export interface ImageLimits {
  /** All frames that would be decoded counted. */
  readonly maxPixels: number;
  /** The longest that one step in libvips may take. */
  readonly stepTimeoutSeconds: number;
}

/** Decoded pixels: 8 bits, sRGB, row by row, without padding. */
export interface Pixels {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly channels: OutputInfo['channels'];
}

/** How pictures come into a box: as a whole, never enlarged. */
export const FIT = { fit: 'inside', withoutEnlargement: true } as const;

/** Sets libvips up for the whole process: one thread per picture, no cache, few decoders. */
export function setUpLibvips(): void {
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: LOADERS });
  // The cache only helps where inputs repeat; here it only holds memory.
  sharp.cache(false);
  // Jobs run side by side already; threads per picture on top of that multiply.
  sharp.concurrency(1);
}

/** Opens an upload; nothing is decoded yet. */
export function open(bytes: Buffer, limits: ImageLimits, options: Pick<SharpOptions, 'failOn' | 'pages'> = {}): Sharp {
  return sharp(bytes, { limitInputPixels: limits.maxPixels, limitInputChannels: 5, failOn: 'warning', sequentialRead: true, ...options }).timeout({
    seconds: limits.stepTimeoutSeconds,
  });
}

/** What the header says. Refuses a picture, or one picture of an animation, of more pixels than accepted. */
export function readHeader(bytes: Buffer, limits: ImageLimits): Promise<Metadata> {
  return open(bytes, limits).metadata();
}

/** Pixels of ours, to be made smaller or encoded. */
export function fromPixels({ data, width, height, channels }: Pixels, limits: ImageLimits): Sharp {
  return sharp(data, { raw: { width, height, channels }, limitInputPixels: limits.maxPixels }).timeout({ seconds: limits.stepTimeoutSeconds });
}

/**
 * Gives the memory of pixels back at once; nothing may read them any more.
 * Left to the garbage collector, some ten megabytes per picture make it run
 * for two pictures in three: measured, 4 % of the CPU of a 12 MP photo.
 */
export function release({ data }: Pixels): void {
  // Small buffers may share their memory with others.
  if (data.buffer instanceof ArrayBuffer && data.buffer.byteLength === data.length) data.buffer.transfer(0);
}

/** Runs a pipeline to pixels. */
export async function toPixels(pipeline: Sharp): Promise<Pixels> {
  const { data, info } = await pipeline.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}
