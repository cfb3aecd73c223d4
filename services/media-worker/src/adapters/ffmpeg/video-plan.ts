import { type MediaWarning, type PixelSize, type VideoRoad, mediaFailure } from '@backhaul/jobs/media';
import { MAX_STREAMS, isDecodable } from './input.ts';
import type { AudioStream, ProbedMedia, VideoStream } from './probe.ts';

/** What is done with a video's streams. */
export interface VideoPlan {
  readonly video: VideoStream;
  /** undefined when there is none that could be decoded. */
  readonly audio: AudioStream | undefined;
  /** 'copy' keeps the coded pictures: 40 times cheaper, and loses nothing. */
  readonly videoAction: 'copy' | 'encode';
  readonly audioAction: 'copy' | 'encode' | 'none';
  /** HDR is brought to ordinary brightness. */
  readonly tonemap: boolean;
  /** What encoding makes; a copy keeps the size that it has. Even, because 4:2:0 stores colour for squares of four. */
  readonly size: PixelSize;
  readonly poster: PixelSize;
  readonly thumb: PixelSize;
  /** Where the poster is taken. */
  readonly posterAtMs: number;
  readonly durationMs: number | undefined;
  readonly warnings: readonly MediaWarning[];
}

/** What a video may become. */
export interface VideoSettings {
  /** The shorter side of what we make; a phone in portrait is held as well as one in landscape. */
  readonly shortSidePx: number;
  /** Bits a second. Above it a copy would cost viewers more than encoding costs us; also the cap of what we encode. */
  readonly maxBitRate: number;
}

/** What decides about a plan beside the video. */
export interface PlanOptions extends VideoSettings {
  readonly maxDurationMs: number;
  readonly canTonemap: boolean;
}

/** The longer side of the stills. */
const POSTER_LONG_SIDE = 1_280;
const THUMB_LONG_SIDE = 320;

/** The longest side that decoders in phones take, whatever the shorter one is. */
const LONGEST_SIDE = 4_096;

/** What no chat video has, and what a hostile one uses to burn our time. */
const MOST = { pixels: 8_192 * 4_320, fps: 480 };

/** The most pictures a second that are passed on; 59.94 and its like lie a little beside. */
export const MAX_FPS = 61;

/** H.264 as every browser and phone plays it: up to level 4.2, which is 1080p at 60 pictures a second. */
const PLAYABLE_PROFILES: ReadonlySet<string> = new Set(['Constrained Baseline', 'Baseline', 'Main', 'High']);
const MAX_LEVEL = 42;

/**
 * Decides what is done with a video.
 * @throws {PermanentFailure} type_mismatch, unsupported, corrupt, empty, too_large, too_long
 */
export function planVideo(media: ProbedMedia, options: PlanOptions): VideoPlan {
  const { video, audio, durationMs } = media;
  const { shortSidePx, maxDurationMs, canTonemap } = options;
  if (video === undefined) throw noPicture(media);
  refuseBombs(media, video, maxDurationMs);
  const shown = { width: video.displayWidth, height: video.displayHeight };
  const longest = Math.max(shown.width, shown.height);
  return {
    video,
    audio,
    videoAction: playsAsIs(video, media.bitRate, options) ? 'copy' : 'encode',
    audioAction: audio === undefined ? 'none' : audioPlaysAsIs(audio) ? 'copy' : 'encode',
    tonemap: video.hdr && canTonemap,
    size: evenSize(shown, Math.min(shortSidePx / Math.min(shown.width, shown.height), LONGEST_SIDE / longest)),
    poster: evenSize(shown, POSTER_LONG_SIDE / longest),
    thumb: evenSize(shown, THUMB_LONG_SIDE / longest),
    posterAtMs: posterAt(video, durationMs),
    durationMs,
    warnings: [
      ...(audio === undefined && media.unusable.audio.length > 0
        ? [dropped(`no sound track of the file can be decoded (${media.unusable.audio.slice(0, 5).join(', ')})`)]
        : []),
      ...(video.hdr && !canTonemap ? [notTonemapped('this ffmpeg lacks the filters zscale and tonemap')] : []),
    ],
  };
}

/** How far the video is worked over. */
export function roadOf({ videoAction, audioAction }: VideoPlan): VideoRoad {
  if (videoAction === 'encode') return 'transcode';
  return audioAction === 'encode' ? 'audio_only' : 'remux';
}

/**
 * How long all runs on one video may take together: a minute, and ten times
 * its length; in any case less than the job's five minutes, which must do for
 * fetching and storing too.
 */
export function wallLimitMs(durationMs: number): number {
  return Math.min(60_000 + 10 * durationMs, 240_000);
}

/** Why a plan could not be carried out: nothing came of the sound alone, or more than that. */
export type PlanFault = 'sound' | 'any';

/**
 * What to try next: what cannot be copied is encoded, colours that cannot be
 * converted are kept, sound that cannot be read is left out. undefined when
 * nothing is left to try.
 */
export function nextPlan(plan: VideoPlan, fault: PlanFault): VideoPlan | undefined {
  const { videoAction, audioAction, tonemap, warnings } = plan;
  const silent: VideoPlan = { ...plan, audioAction: 'none', warnings: [...warnings, dropped('the sound cannot be decoded')] };
  if (fault === 'sound') return silent;
  if (videoAction === 'copy' || audioAction === 'copy') return { ...plan, videoAction: 'encode', audioAction: audioAction === 'none' ? 'none' : 'encode' };
  if (tonemap) return { ...plan, tonemap: false, warnings: [...warnings, notTonemapped('its colours could not be converted')] };
  return audioAction === 'none' ? undefined : silent;
}

function dropped(reason: string): MediaWarning {
  return { code: 'audio_dropped', reason };
}

function notTonemapped(reason: string): MediaWarning {
  return { code: 'hdr_not_tonemapped', reason };
}

function noPicture({ streamCount, unusable }: ProbedMedia): Error {
  if (streamCount === 0) return mediaFailure('empty', 'there is neither a picture nor a sound in the file');
  if (unusable.video.length === 0) return mediaFailure('type_mismatch', 'the event says video, but the file holds no moving picture');
  const codecs = unusable.video.slice(0, 5).join(', ');
  return unusable.video.some((codec) => isDecodable(codec))
    ? mediaFailure('corrupt', `the file does not tell how large its pictures are (${codecs})`)
    : mediaFailure('unsupported', `videos of this codec are not accepted (${codecs})`);
}

function refuseBombs({ streamCount, durationMs }: ProbedMedia, video: VideoStream, maxDurationMs: number): void {
  if (streamCount > MAX_STREAMS) throw mediaFailure('too_large', `the file has ${streamCount} streams, at most ${MAX_STREAMS} are accepted`);
  if (video.width * video.height > MOST.pixels)
    throw mediaFailure('too_large', `the picture is ${video.width} x ${video.height}, at most ${MOST.pixels} pixels are accepted`);
  // A thousand is what ffprobe says of browsers' recordings, whose clock ticks in milliseconds: it does not know.
  if (video.fps > MOST.fps && video.fps !== 1_000)
    throw mediaFailure('too_large', `the video has ${video.fps} pictures a second, at most ${MOST.fps} are accepted`);
  if (durationMs !== undefined && durationMs > maxDurationMs)
    throw mediaFailure('too_long', `the video takes ${durationMs} ms, at most ${maxDurationMs} ms are accepted`);
}

/** Not the very first picture, which is often black; half of a clip that is shorter than two seconds, and not behind its last picture. */
function posterAt({ fps }: VideoStream, durationMs: number | undefined): number {
  if (durationMs === undefined) return 0;
  const lastPictureMs = fps > 0 ? durationMs - 1_500 / fps : durationMs;
  return Math.max(0, Math.floor(Math.min(1_000, durationMs / 2, lastPictureMs)));
}

function playsAsIs(video: VideoStream, bitRate: number | undefined, { shortSidePx, maxBitRate }: VideoSettings): boolean {
  return (
    video.codec === 'h264' &&
    PLAYABLE_PROFILES.has(video.profile) &&
    video.level > 0 &&
    video.level <= MAX_LEVEL &&
    (video.pixelFormat === 'yuv420p' || video.pixelFormat === 'yuvj420p') &&
    !video.hdr &&
    !video.interlaced &&
    video.squarePixels &&
    video.plainlyTurned &&
    Math.min(video.width, video.height) <= shortSidePx &&
    video.fps > 0 &&
    video.fps <= MAX_FPS &&
    bitRate !== undefined &&
    bitRate <= maxBitRate
  );
}

function audioPlaysAsIs(audio: AudioStream): boolean {
  return audio.codec === 'aac' && audio.profile === 'LC' && audio.channels <= 2 && audio.sampleRate <= 48_000;
}

/** Scaled by at most `factor`, never enlarged, each side even and at least 2. */
function evenSize(size: PixelSize, factor: number): PixelSize {
  const scale = Math.min(1, factor);
  const even = (pixels: number) => Math.max(2, Math.floor((pixels * scale) / 2 + 1e-6) * 2);
  return { width: even(size.width), height: even(size.height) };
}
