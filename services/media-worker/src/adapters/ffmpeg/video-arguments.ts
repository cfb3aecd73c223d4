import type { MediaFile, StillTargets } from '@backhaul/jobs/media';
import { ANONYMOUS, GLOBAL, MAX_PIXELS, PROBE_GLOBAL, PROGRESS, input, seconds } from './input.ts';
import { samplesOutput } from './samples.ts';
import { encodingGraph, stillGraph } from './video-filters.ts';
import type { VideoPlan } from './video-plan.ts';

/** ffprobe's arguments. */
export function probeArguments(source: MediaFile, entries: string): string[] {
  return [...PROBE_GLOBAL, '-show_entries', entries, '-of', 'json', ...input(source)];
}

/** What does not depend on the video. */
export interface EncodeOptions {
  readonly threads: number;
  readonly maxDurationMs: number;
  readonly maxBitRate: number;
  /** Samples a second of the sound in `samples`. */
  readonly pcmRate: number;
}

/** Where everything goes. */
export type VideoTargets = StillTargets & { readonly video: string; readonly samples: string };

/** One process for the video, its two stills and the samples that the waveform is drawn from. */
export function videoArguments(source: MediaFile, plan: VideoPlan, targets: VideoTargets, options: EncodeOptions): string[] {
  return [
    ...GLOBAL,
    ...PROGRESS,
    '-filter_complex_threads',
    String(options.threads),
    ...(plan.videoAction === 'copy' ? copying : encoding)(source, plan, targets, options),
  ];
}

type Build = typeof videoArguments;

/**
 * A copy decodes nothing, so the stills read the file by an input of their own
 * that seeks. It comes first: ffmpeg then finishes it before it goes on, where
 * otherwise it would decode the whole file for pictures that it has.
 */
const copying: Build = (source, plan, targets, options) => [
  ...seekingInput(source, plan, options, plan.posterAtMs),
  ...input(source, cut(options)),
  ...['-filter_complex', stillGraph(plan)],
  ...stillOutputs(targets),
  ...['-map', `1:${plan.video.index}`, '-c:v', 'copy'],
  ...audioOutput(1, plan),
  ...['-fs', String(mostCopiedBytes(source))],
  ...videoOutput(targets.video),
  ...heard(1, plan, targets, options),
];

/**
 * How large a copy can be: what is copied, its sound perhaps encoded anew, and an index. An edit list may name
 * the same pictures thousands of times, and 300 KB would become gigabytes; ffmpeg stops there.
 */
export function mostCopiedBytes({ sizeBytes }: MediaFile): number {
  return 2 * sizeBytes + 1024 ** 2;
}

const encoding: Build = (source, plan, targets, options) => {
  const { maxBitRate, threads } = options;
  return [
    ...input(source, [...decoding(options), ...cut(options)]),
    ...['-filter_complex', encodingGraph(plan)],
    ...['-map', '[video]', '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-profile:v', 'high', '-pix_fmt', 'yuv420p'],
    // By the clock of the source's pictures: at ffmpeg's guess of their rate an uneven recording would be thinned out or blown up.
    ...['-fps_mode', 'vfr', '-enc_time_base', '1:90000'],
    ...['-maxrate', String(maxBitRate), '-bufsize', String(2 * maxBitRate), '-threads', String(threads)],
    ...audioOutput(0, plan),
    ...videoOutput(targets.video),
    ...stillOutputs(targets),
    ...heard(0, plan, targets, options),
  ];
};

/** The stills alone, from the picture at `atMs`. */
export function stillArguments(source: MediaFile, plan: VideoPlan, targets: StillTargets, options: Pick<EncodeOptions, 'threads'>, atMs: number): string[] {
  return [...GLOBAL, ...seekingInput(source, plan, options, atMs), ...['-filter_complex', stillGraph(plan)], ...stillOutputs(targets)];
}

/** From the picture before which nothing is needed; on the way, pictures on which no other stands are left out: half of the work. */
function seekingInput(source: MediaFile, { video }: VideoPlan, options: Pick<EncodeOptions, 'threads'>, atMs: number): string[] {
  const skip = video.codec === 'h264' && atMs > 0 ? ['-skip_frame', 'noref'] : [];
  return input(source, [...decoding(options), ...skip, ...(atMs > 0 ? ['-ss', seconds(atMs)] : [])]);
}

function decoding({ threads }: Pick<EncodeOptions, 'threads'>): string[] {
  return ['-threads', String(threads), '-max_pixels', String(MAX_PIXELS)];
}

/** One second more than is allowed: enough to see that it was too long. */
function cut({ maxDurationMs }: EncodeOptions): string[] {
  return ['-t', seconds(maxDurationMs + 1_000)];
}

/** One track by its number, never all: a second one may be of a codec that makes ffmpeg give up. */
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

function heard(inputIndex: number, { audio, audioAction }: VideoPlan, { samples }: VideoTargets, { pcmRate }: EncodeOptions): string[] {
  if (audio === undefined || audioAction === 'none') return [];
  return ['-map', `${inputIndex}:${audio.index}`, ...samplesOutput(samples, pcmRate)];
}

function stillOutputs({ poster, thumb }: StillTargets): string[] {
  return [...stillOutput('[poster]', poster), ...stillOutput('[thumb]', thumb)];
}

function stillOutput(label: string, file: string): string[] {
  // One picture: starting the encoder's threads would take longer than encoding it.
  return ['-map', label, '-frames:v', '1', '-threads', '1', '-c:v', 'mjpeg', '-q:v', '4', ...ANONYMOUS, '-f', 'image2', '-update', '1', `file:${file}`];
}
