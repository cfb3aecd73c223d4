import { ANONYMOUS, GLOBAL, MAX_PIXELS, PROBE_GLOBAL, type Source, input, seconds } from './input.ts';
import type { EvenSize, VideoPlan } from './video-plan.ts';
import { MAX_BIT_RATE } from './video-plan.ts';

/** ffprobe's arguments. */
export function probeArguments(source: Source, entries: string): string[] {
  return [...PROBE_GLOBAL, '-show_entries', entries, '-of', 'json', ...input(source)];
}

/** Options of the encoder that do not depend on the video. */
export interface EncodeOptions {
  readonly threads: number;
  readonly canTonemap: boolean;
  readonly maxDurationMs: number;
}

/** One process for the video and its poster. */
export function videoArguments(
  source: Source,
  plan: VideoPlan,
  targets: { readonly video: string; readonly poster: string },
  options: EncodeOptions,
): string[] {
  return [...GLOBAL, '-progress', 'pipe:3', '-nostats', ...(plan.videoAction === 'copy' ? copying : encoding)(source, plan, targets, options)];
}

type Build = typeof videoArguments;

/**
 * A copy decodes nothing, so the poster reads the file by an input of its own
 * that seeks. It comes first: ffmpeg then finishes it before it goes on, where
 * otherwise it would decode the whole file for a picture that it has.
 */
const copying: Build = (source, plan, targets, options) => [
  ...input(source, [...decoding(options), '-ss', seconds(plan.posterAtMs)]),
  ...input(source, cut(options)),
  ...['-map', `0:${plan.video.index}`, '-vf', posterFilters(plan, options)],
  ...posterOutput(targets.poster),
  ...['-map', `1:${plan.video.index}`, '-c:v', 'copy'],
  ...audioOutput(1, plan),
  ...videoOutput(targets.video),
];

/** Decoded once: one picture leaves for the poster as it passes. */
const encoding: Build = (source, plan, targets, options) => {
  const rate = plan.video.fps > 61 ? ['fps=60'] : [];
  const video = [scale(plan, plan.size), ...rate, ...colours(plan, options, 'yuv420p')].join(',');
  const pick = `select='isnan(prev_selected_t)*gte(t,${seconds(plan.posterAtMs)})'`;
  return [
    ...input(source, [...decoding(options), ...cut(options)]),
    ...['-filter_complex', `[0:${plan.video.index}]split=2[all][some];[all]${video}[video];[some]${pick},${posterFilters(plan, options)}[poster]`],
    ...['-map', '[video]', '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-profile:v', 'high', '-pix_fmt', 'yuv420p'],
    ...['-maxrate', String(MAX_BIT_RATE), '-bufsize', String(2 * MAX_BIT_RATE), '-threads', String(options.threads)],
    ...audioOutput(0, plan),
    ...videoOutput(targets.video),
    ...['-map', '[poster]'],
    ...posterOutput(targets.poster),
  ];
};

/** The poster alone, from the first picture: for where the one that was aimed at could not be had. */
export function posterArguments(source: Source, plan: VideoPlan, poster: string, options: EncodeOptions): string[] {
  return [...GLOBAL, ...input(source, decoding(options)), '-map', `0:${plan.video.index}`, '-vf', posterFilters(plan, options), ...posterOutput(poster)];
}

function decoding({ threads }: EncodeOptions): string[] {
  return ['-threads', String(threads), '-max_pixels', String(MAX_PIXELS)];
}

/** One second more than is allowed: enough to see that it was too long. */
function cut({ maxDurationMs }: EncodeOptions): string[] {
  return ['-t', seconds(maxDurationMs + 1_000)];
}

function audioOutput(inputIndex: number, { audio, audioAction }: VideoPlan): string[] {
  if (audio === undefined || audioAction === 'none') return [];
  const map = ['-map', `${inputIndex}:${audio.index}`];
  if (audioAction === 'copy') return [...map, '-c:a', 'copy'];
  const mono = audio.channels === 1;
  return [...map, '-c:a', 'aac', '-b:a', mono ? '64k' : '96k', '-ac', mono ? '1' : '2', '-ar', audio.sampleRate === 44_100 ? '44100' : '48000'];
}

function videoOutput(file: string): string[] {
  return [...ANONYMOUS, '-max_muxing_queue_size', '2048', '-movflags', '+faststart', '-f', 'mp4', `file:${file}`];
}

function posterFilters(plan: VideoPlan, options: EncodeOptions): string {
  return [scale(plan, plan.poster), ...colours(plan, options, 'yuvj420p')].join(',');
}

function posterOutput(file: string): string[] {
  return ['-frames:v', '1', '-c:v', 'mjpeg', '-q:v', '4', ...ANONYMOUS, '-f', 'image2', '-update', '1', `file:${file}`];
}

/** To the size; where only an odd line is too much it is cut off, because scaling by one pixel blurs all of them. */
function scale({ video }: VideoPlan, { width, height }: EvenSize): string {
  const onlyOdd =
    video.squarePixels && video.displayWidth - width <= 1 && video.displayHeight - height <= 1 && video.displayWidth >= width && video.displayHeight >= height;
  return onlyOdd ? `crop=${width}:${height}:0:0,setsar=1` : `scale=${width}:${height},setsar=1`;
}

/** To ordinary colours. After scaling, because the way through linear light costs by the pixel. */
function colours({ video }: VideoPlan, { canTonemap }: EncodeOptions, format: string): string[] {
  if (!video.hdr || !canTonemap) return [`format=${format}`];
  return ['zscale=t=linear:npl=100', 'format=gbrpf32le', 'zscale=p=bt709', 'tonemap=hable:desat=0', 'zscale=t=bt709:m=bt709:r=tv', `format=${format}`];
}
