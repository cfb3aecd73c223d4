import type { MediaFormat, MediaWarning } from '@backhaul/jobs/media';

/** How much of an animation is shown moving. */
export interface AnimationPlan {
  /** 1 when it stands still. */
  readonly frames: number;
  readonly warnings: readonly MediaWarning[];
}

/** What is asked of an animation's header. */
export interface AnimationHeader {
  readonly format: MediaFormat;
  /** Pictures in the file. */
  readonly pages: number;
  readonly pixelsPerFrame: number;
  /** EXIF would have it turned, which libvips cannot do with more than one picture. */
  readonly turned: boolean;
}

/** The longer side of a moving output: beyond it a minute of movement takes minutes to encode and megabytes to load. */
export const MAX_MOVING_PX = 1024;

/** Fewer are no animation any more but a picture that twitches, so then it stands still. As Zulip does. */
const FEWEST_FRAMES = 3;

const STILL: AnimationPlan = { frames: 1, warnings: [] };

/** Decides before anything is decoded. Frames that are too many, or too many pixels together, are left out at the end. */
export function planAnimation(
  { format, pages, pixelsPerFrame, turned }: AnimationHeader,
  { maxFrames, maxPixels }: { readonly maxFrames: number; readonly maxPixels: number },
): AnimationPlan {
  // In AVIF and HEIC these are independent pictures, such as a burst.
  if (pages < 2 || (format !== 'gif' && format !== 'webp')) return STILL;
  if (turned) return still('animations that lie on their side cannot be turned');
  const frames = Math.min(pages, maxFrames, Math.floor(maxPixels / pixelsPerFrame));
  if (frames < Math.min(FEWEST_FRAMES, pages)) return still(`only ${frames} of its ${pages} pictures are within the limits`);
  if (frames === pages) return { frames, warnings: [] };
  return { frames, warnings: [{ code: 'animation_truncated', reason: `${frames} of its ${pages} pictures were kept` }] };
}

/** An animation that is shown as its first picture. */
export function still(reason: string): AnimationPlan {
  return { frames: 1, warnings: [{ code: 'animation_still', reason }] };
}

/** Bytes in which an animated PNG says that it is one. */
const PNG_CONTROL = 'acTL';

/** Real pictures have a dozen before their pixels; millions of empty ones fit into an upload. */
const MAX_CHUNKS = 1_000;

/** Whether a file moves in a way that libvips does not know: animated PNG, and sequences of AVIF or HEIC. Of these it reads one picture. */
export function movesUnseen(bytes: Buffer, format: MediaFormat): boolean {
  if (format === 'avif' || format === 'heic') return SEQUENCES.has(bytes.toString('latin1', 8, 12));
  if (format !== 'png') return false;
  // Chunks: length, name, data, checksum. The announcement must come before the pixels.
  let at = 8;
  for (let chunks = 0; chunks < MAX_CHUNKS && at + 8 <= bytes.length; chunks++) {
    const name = bytes.toString('latin1', at + 4, at + 8);
    if (name === PNG_CONTROL) return true;
    if (name === 'IDAT') return false;
    at += 12 + bytes.readUInt32BE(at);
  }
  return false;
}

/** Brands of files that hold a track of pictures, and the one of the still that lies beside it. */
const SEQUENCES = new Map([
  ['avis', 'avif'],
  ['hevc', 'heic'],
  ['hevx', 'heic'],
  ['msf1', 'mif1'],
]);

/** The same file, presented as the still that it holds as well: decoders go by the brand, and know none of these. */
export function asStill(bytes: Buffer, format: MediaFormat): Buffer {
  const brand = format === 'avif' || format === 'heic' ? SEQUENCES.get(bytes.toString('latin1', 8, 12)) : undefined;
  return brand === undefined ? bytes : Buffer.concat([bytes.subarray(0, 8), Buffer.from(brand, 'latin1'), bytes.subarray(12)]);
}
