import type { MediaWarning } from '@backhaul/jobs/media';
import { FIT, type ImageLimits, type Pixels, fromPixels, open, release, toPixels } from './libvips.ts';

/** The pixels of a picture, at most as large as its largest output. */
export interface DecodedImage {
  readonly pixels: Pixels;
  /** Some of it can be seen through; an alpha channel that hides nothing is none. */
  readonly hasAlpha: boolean;
  readonly warnings: readonly MediaWarning[];
}

/** How to decode. */
export interface DecodeOptions {
  readonly maxPx: number;
  /** Turn it as EXIF says; not for pictures that were turned already. */
  readonly autoOrient: boolean;
  readonly limits: ImageLimits;
}

/**
 * Warnings that libvips would refuse a picture for, and every browser shows it
 * all the same: Samsung's cameras write such a scan header, Adobe's marker has
 * values that nobody knows.
 */
const HARMLESS = /Invalid SOS parameters|Unknown Adobe color transform/i;

const END_OF_JPEG = Buffer.from([0xff, 0xd9]);

/**
 * The one decode of a picture. libvips shrinks JPEG and WebP while it loads them.
 * An animation gives its first picture.
 */
export async function decode(bytes: Buffer, options: DecodeOptions): Promise<DecodedImage> {
  const { pixels, warnings } = await decodeLeniently(bytes, options);
  if (pixels.channels !== 4) return { pixels, hasAlpha: false, warnings };
  if (isSeeThrough(pixels)) return { pixels, hasAlpha: true, warnings };
  // Phones' screenshots are of this kind: carried on, the channel would cost time in every step and turn JPEG into PNG.
  const opaque = await toPixels(fromPixels(pixels, options.limits).removeAlpha());
  release(pixels);
  return { pixels: opaque, hasAlpha: false, warnings };
}

async function decodeLeniently(bytes: Buffer, options: DecodeOptions): Promise<Pick<DecodedImage, 'pixels' | 'warnings'>> {
  try {
    return { pixels: await decodeWith(bytes, options, 'warning'), warnings: [] };
  } catch (error) {
    const message = error instanceof Error ? error.message : '';
    if (HARMLESS.test(message)) return { pixels: await decodeWith(bytes, options, 'error'), warnings: [] };
    // Only the mark at the end may be missing; if more is, then putting it there does not help.
    if (/premature end of JPEG/i.test(message)) {
      const pixels = await decodeWith(Buffer.concat([bytes, END_OF_JPEG]), options, 'warning').catch(() => undefined);
      if (pixels !== undefined) return { pixels, warnings: [{ code: 'truncated', reason: 'the mark at the end of the picture is missing' }] };
    }
    throw error;
  }
}

function decodeWith(bytes: Buffer, { maxPx, autoOrient, limits }: DecodeOptions, failOn: 'warning' | 'error'): Promise<Pixels> {
  const opened = open(bytes, limits, { failOn });
  return toPixels((autoOrient ? opened.autoOrient() : opened).resize(maxPx, maxPx, FIT).toColourspace('srgb'));
}

function isSeeThrough({ data }: Pixels): boolean {
  for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return true;
  return false;
}
