import type { MediaFormat, RenderRequest } from '@backhaul/jobs/media';
import { PermanentFailure } from '@backhaul/queue/job';
import sharp, { type Sharp } from 'sharp';

/** What the handler asks for. */
export const VARIANTS = [
  { name: 'full', maxPx: 2048, animated: true },
  { name: 'medium', maxPx: 1024 },
  { name: 'thumb', maxPx: 320 },
];

/** A request for all of it. */
export function request(format: MediaFormat, options: Partial<RenderRequest> = {}): RenderRequest {
  return { format, variants: VARIANTS, folder: '/nowhere', attempt: 1, signal: new AbortController().signal, ...options };
}

/** One colour all over. */
export function plain(width: number, height: number, background: string | { r: number; g: number; b: number; alpha: number } = 'teal'): Sharp {
  return sharp({ create: { width, height, channels: typeof background === 'string' ? 3 : 4, background } });
}

/** Red and lime above, blue and white below: lying on its side it looks different in each of the eight ways. */
export async function quarters(width = 600, height = 400): Promise<Sharp> {
  const [halfWidth, halfHeight] = [width / 2, height / 2];
  const quarter = (colour: string, left: number, top: number) => ({
    input: { create: { width: halfWidth, height: halfHeight, channels: 3 as const, background: colour } },
    left,
    top,
  });
  const composed = plain(width, height, 'red').composite([
    quarter('lime', halfWidth, 0),
    quarter('blue', 0, halfHeight),
    quarter('white', halfWidth, halfHeight),
  ]);
  // A pipeline turns and shrinks before it composes, whatever the order in the code; so the composition is done first.
  const { data, info } = await composed.removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return sharp(data, { raw: { width, height, channels: info.channels } });
}

/** Grain like a photo's, so that quality and truncation show. */
export function grainy(width: number, height: number): Sharp {
  return sharp({ create: { width, height, channels: 3, background: 'green', noise: { type: 'gaussian', mean: 128, sigma: 60 } } });
}

/** An animation of whole pictures. */
export async function animation(frames: readonly Sharp[], encode: (joined: Sharp) => Sharp): Promise<Buffer> {
  const pictures = await Promise.all(frames.map((frame) => frame.png().toBuffer()));
  return encode(sharp(pictures, { join: { animated: true } })).toBuffer();
}

const NAMED: readonly (readonly [string, number, number, number])[] = [
  ['red', 255, 0, 0],
  ['lime', 0, 255, 0],
  ['blue', 0, 0, 255],
  ['white', 255, 255, 255],
  ['black', 0, 0, 0],
  ['grey', 128, 128, 128],
];

/** The name of the colour that the middle of each quarter is nearest to, row by row; 'clear' where one looks through. */
export async function coloursOf(bytes: Buffer | undefined, page = 0): Promise<string[]> {
  const { data, info } = await sharp(bytes, { page }).toColourspace('srgb').ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return [
    [0.25, 0.25],
    [0.75, 0.25],
    [0.25, 0.75],
    [0.75, 0.75],
  ].map(([x = 0, y = 0]) => {
    const at = 4 * (Math.floor(y * info.height) * info.width + Math.floor(x * info.width));
    const [red = 0, green = 0, blue = 0, alpha = 0] = data.subarray(at, at + 4);
    if (alpha < 128) return 'clear';
    const distance = ([, r, g, b]: readonly [string, number, number, number]) => (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
    return NAMED.toSorted((a, b) => distance(a) - distance(b))[0]?.[0] ?? '';
  });
}

/** The stable code of a permanent failure; anything else is passed on. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PermanentFailure) return error.code;
    throw error;
  }
  return 'no failure';
}
