import type { MediaFormat } from '@backhaul/jobs/media';
import type { EvenSize, VideoPlan } from './video-plan.ts';
import { MAX_BIT_RATE } from './video-plan.ts';

/**
 * The one demuxer for each format. ffmpeg is never left to guess: what looks
 * like a playlist to it would make it open other files and addresses.
 */
const DEMUXERS: Readonly<Partial<Record<MediaFormat, string>>> = {
  mp4: 'mov',
  matroska: 'matroska',
  ogg: 'ogg',
  mp3: 'mp3',
  wav: 'wav',
  aac: 'aac',
  amr: 'amr',
  caf: 'caf',
  flac: 'flac',
  asf: 'asf',
};

/** The largest single block that ffmpeg may ask for. */
const MAX_ALLOC_BYTES = 512 * 1024 * 1024;

/** Pictures larger than this are refused by the decoder, whatever the container said. */
const MAX_PIXELS = 8_192 * 8_192;

/** Every browser and phone decodes MP3 at these rates; lower ones (MPEG-2.5) not everywhere. */
const MP3_RATES = '48000|44100|32000|24000|22050|16000';

/** Nothing that the sender's device wrote about itself survives, nor the name and date of our encoder: the same input makes the same bytes. */
const ANONYMOUS = ['-map_metadata', '-1', '-map_chapters', '-1', '-fflags', '+bitexact', '-flags:v', '+bitexact', '-flags:a', '+bitexact', '-sn', '-dn'];

const GLOBAL = ['-nostdin', '-hide_banner', '-v', 'error', '-y', '-max_alloc', String(MAX_ALLOC_BYTES)];

/** Where a source lies and what it is. */
export interface Source {
  /** A name of ours in the job's folder, never the sender's. */
  readonly file: string;
  readonly format: MediaFormat;
}

/** Opens a source and nothing else. `-format_whitelist` is named beside `-f`, because demuxers may open others inside themselves. */
function input({ file, format }: Source, options: readonly string[] = []): string[] {
  const demuxer = DEMUXERS[format];
  if (demuxer === undefined) throw new TypeError(`no demuxer for ${format}`);
  return ['-protocol_whitelist', 'file,pipe', '-format_whitelist', demuxer, '-f', demuxer, ...options, '-i', `file:${file}`];
}

/** ffprobe's arguments. */
export function probeArguments(source: Source, entries: string): string[] {
  return [
    '-hide_banner',
    '-v',
    'error',
    '-max_alloc',
    String(MAX_ALLOC_BYTES),
    '-max_pixels',
    String(MAX_PIXELS),
    '-show_entries',
    entries,
    '-of',
    'json',
    ...input(source),
  ];
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

/** One process for the MP3 and, through its standard output, the samples that the waveform is drawn from. */
export function audioArguments(source: Source, target: string, options: { readonly maxDurationMs: number; readonly pcmRate: number }): string[] {
  return [
    ...GLOBAL,
    ...input(source, ['-t', seconds(options.maxDurationMs + 1_000)]),
    ...['-map', '0:a:0', '-vn', '-ac', '1', '-af', `aformat=sample_rates=${MP3_RATES}`, '-c:a', 'libmp3lame', '-b:a', '64k'],
    ...ANONYMOUS,
    ...['-id3v2_version', '0', '-write_id3v1', '0', '-f', 'mp3', `file:${target}`],
    // Without -flush_packets 0 every 20 ms of sound is a write of its own, and a wake-up of ours: a quarter of the whole cost.
    ...['-map', '0:a:0', '-vn', '-ac', '1', '-ar', String(options.pcmRate), '-c:a', 'pcm_s16le', '-flush_packets', '0', '-f', 's16le', 'pipe:1'],
  ];
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

function seconds(durationMs: number): string {
  return (durationMs / 1_000).toFixed(3);
}
