import type { PixelSize } from '@backhaul/jobs/media';
import { seconds } from './input.ts';
import type { VideoStream } from './probe.ts';
import { MAX_FPS, type VideoPlan } from './video-plan.ts';

/** The graph of an encoding run: from the pictures of the first input to `[video]`, `[poster]` and `[thumb]`. Decoded once. */
export function encodingGraph(plan: VideoPlan): string {
  const { video, size, posterAtMs } = plan;
  const pictures = [thinOut(video), ...shaped(plan, size, 'bt709', 'yuv420p'), 'setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709'];
  const pick = `select='isnan(prev_selected_t)*gte(t,${seconds(posterAtMs)})'`;
  return [
    `[0:${video.index}]${[...whole(video), 'split=2[all][some]'].join(',')}`,
    `[all]${pictures.join(',')}[video]`,
    `[some]${[pick, ...stills(plan)].join(',')}`,
  ].join(';');
}

/** The graph of the stills alone: from the first picture of the first input to `[poster]` and `[thumb]`. */
export function stillGraph(plan: VideoPlan): string {
  return `[0:${plan.video.index}]${[...whole(plan.video), ...stills(plan)].join(',')}`;
}

/** In the colours of JPEG (JFIF: BT.601, full range). */
function stills(plan: VideoPlan): string[] {
  const { poster, thumb } = plan;
  return [...shaped(plan, poster, 'bt601', 'yuvj420p'), `split=2[poster][large];[large]scale=${thumb.width}:${thumb.height}[thumb]`];
}

/** Pixel formats of pictures that one can see through. */
const SEE_THROUGH = /^(?:bgra|rgba|argb|abgr|pal8|yuva|gbrap)/;

/** Whole pictures of half ones, and white behind what one could see through: it would become black. ffmpeg 5.1 crashes where it draws on RGB with alpha. */
function whole({ interlaced, pixelFormat }: VideoStream): string[] {
  return [
    ...(interlaced ? ['yadif=deint=interlaced'] : []),
    ...(SEE_THROUGH.test(pixelFormat)
      ? ['format=yuva420p,split=2[below][above];[below]drawbox=color=white:thickness=fill:replace=1[paper];[paper][above]overlay=format=auto']
      : []),
  ];
}

/**
 * Drops pictures that follow too closely, and never adds one: an uneven rate
 * stays uneven. Just above 60 a second where more are promised; a clock of
 * milliseconds makes some gaps of 60 a second 16 ms long. 250 where they are
 * not, for files that lie.
 */
function thinOut({ fps }: VideoStream): string {
  const leastMs = fps > 0 && fps <= MAX_FPS ? 4 : 15;
  return `select='isnan(prev_selected_t)+gte(t-prev_selected_t,${seconds(leastMs)})'`;
}

/** To a size and to ordinary colours. The way through linear light costs by the pixel, so it comes after scaling. */
function shaped({ video, tonemap }: VideoPlan, size: PixelSize, matrix: 'bt709' | 'bt601', format: 'yuv420p' | 'yuvj420p'): string[] {
  const range = format === 'yuvj420p' ? 'pc' : 'tv';
  const to = [`out_color_matrix=${matrix}`, `out_range=${range}`];
  if (tonemap) return [...resized(video, size, []), ...tonemapped(video), `scale=${['in_color_matrix=bt709', ...to].join(':')}`, `format=${format}`];
  const from = matrixOf(video);
  if (from === matrix && range === 'tv' && !isFullRange(video)) return [...resized(video, size, []), `format=${format}`];
  return [...resized(video, size, [...(from === 'rgb' ? [] : [`in_color_matrix=${from}`]), ...to]), `format=${format}`];
}

function isFullRange({ colorRange, pixelFormat }: VideoStream): boolean {
  return colorRange === 'pc' || pixelFormat.startsWith('yuvj');
}

/** To the size; where an odd line is too much it is cut off, because scaling by one pixel blurs all of them. */
function resized({ squarePixels, displayWidth, displayHeight }: VideoStream, { width, height }: PixelSize, colours: readonly string[]): string[] {
  const [tooWide, tooHigh] = [displayWidth - width, displayHeight - height];
  const onlyOdd = squarePixels && Math.max(tooWide, tooHigh) === 1 && Math.min(tooWide, tooHigh) >= 0;
  if (!onlyOdd) return [`scale=${[width, height, ...colours].join(':')}`, 'setsar=1'];
  return [`crop=${width}:${height}:0:0`, ...(colours.length === 0 ? [] : [`scale=${colours.join(':')}`]), 'setsar=1'];
}

/** By the file's word, or as players guess where it does not say: BT.709 from 720 lines on, BT.601 below. */
function matrixOf({ pixelFormat, colorSpace, width, height }: VideoStream): string {
  // What `whole` made of them.
  if (SEE_THROUGH.test(pixelFormat) && !pixelFormat.startsWith('yuva')) return 'bt601';
  if (/rgb|bgr|gbr/.test(pixelFormat)) return 'rgb';
  switch (colorSpace) {
    case 'bt709':
    case 'smpte240m':
    case 'fcc':
      return colorSpace;
    case 'smpte170m':
    case 'bt470bg':
      return 'bt601';
    case 'bt2020nc':
    case 'bt2020c':
      return 'bt2020';
    default:
      return Math.max(width, height) >= 1_280 || Math.min(width, height) >= 720 ? 'bt709' : 'bt601';
  }
}

/** HDR is BT.2020 (ITU-R BT.2100), also where only its transfer is named; zscale refuses to guess. */
function tonemapped({ colorTransfer }: VideoStream): string[] {
  return [
    `setparams=color_primaries=bt2020:color_trc=${colorTransfer}:colorspace=bt2020nc`,
    'zscale=t=linear:npl=100',
    'format=gbrpf32le',
    'zscale=p=bt709',
    'tonemap=hable:desat=0',
    'zscale=t=bt709:m=bt709:r=tv',
    'format=yuv420p',
  ];
}
