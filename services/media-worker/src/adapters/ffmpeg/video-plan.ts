import { PermanentFailure } from '@backhaul/queue/job';
import type { AudioStream, ProbedMedia, VideoStream } from './probe.ts';

/** A size in pixels, both even, because 4:2:0 stores colour for squares of four. */
export interface EvenSize {
  readonly width: number;
  readonly height: number;
}

/** What is done with a video's streams. */
export interface VideoPlan {
  readonly video: VideoStream;
  readonly audio: AudioStream | undefined;
  /** 'copy' keeps the coded pictures: 40 times cheaper, and loses nothing. */
  readonly videoAction: 'copy' | 'encode';
  readonly audioAction: 'copy' | 'encode' | 'none';
  /** What encoding makes; a copy keeps the size that it has. */
  readonly size: EvenSize;
  readonly poster: EvenSize;
  /** Where the poster is taken. */
  readonly posterAtMs: number;
  readonly durationMs: number | undefined;
}

/** The shorter side of what we make; a phone in portrait is held as well as one in landscape. */
const SHORT_SIDE = 720;

/** The longer side of a poster. */
const POSTER_LONG_SIDE = 640;

/** Above it a copy would cost viewers more than encoding costs us. Also the cap of what we encode. */
export const MAX_BIT_RATE = 4_500_000;

/** What no chat video has, and what a hostile one uses to burn our time. */
const MOST = { streams: 32, pixels: 8_192 * 4_320, fps: 480 };

/** H.264 as every browser and phone plays it. */
const PLAYABLE_PROFILES: ReadonlySet<string> = new Set(['Constrained Baseline', 'Baseline', 'Main', 'High']);

/**
 * Decides what is done with a video.
 * @throws {PermanentFailure} type_mismatch, too_large, too_long
 */
export function planVideo(media: ProbedMedia, maxDurationMs: number): VideoPlan {
  const { video, audio, durationMs } = media;
  if (video === undefined) throw new PermanentFailure('type_mismatch', 'the event says video, but the file holds no moving picture');
  if (media.streamCount > MOST.streams)
    throw new PermanentFailure('too_large', `the file has ${media.streamCount} streams, at most ${MOST.streams} are accepted`);
  if (video.width * video.height > MOST.pixels)
    throw new PermanentFailure('too_large', `the picture is ${video.width} x ${video.height}, at most ${MOST.pixels} pixels are accepted`);
  if (video.fps > MOST.fps) throw new PermanentFailure('too_large', `the video has ${video.fps} pictures a second, at most ${MOST.fps} are accepted`);
  if (durationMs !== undefined && durationMs > maxDurationMs)
    throw new PermanentFailure('too_long', `the video takes ${durationMs} ms, at most ${maxDurationMs} ms are accepted`);

  const copy = playsAsIs(video, media.bitRate);
  const shown = { width: video.displayWidth, height: video.displayHeight };
  return {
    video,
    audio,
    videoAction: copy ? 'copy' : 'encode',
    audioAction: audio === undefined ? 'none' : audioPlaysAsIs(audio) ? 'copy' : 'encode',
    size: evenSize(shown, SHORT_SIDE / Math.min(shown.width, shown.height)),
    poster: evenSize(shown, POSTER_LONG_SIDE / Math.max(shown.width, shown.height)),
    // Not the very first picture, which is often black; half of a clip that is shorter than two seconds.
    posterAtMs: durationMs === undefined ? 0 : Math.min(1_000, Math.floor(durationMs / 2)),
    durationMs,
  };
}

function playsAsIs(video: VideoStream, bitRate: number | undefined): boolean {
  return (
    video.codec === 'h264' &&
    PLAYABLE_PROFILES.has(video.profile) &&
    (video.pixelFormat === 'yuv420p' || video.pixelFormat === 'yuvj420p') &&
    !video.hdr &&
    video.squarePixels &&
    Math.min(video.width, video.height) <= SHORT_SIDE &&
    video.fps > 0 &&
    video.fps <= 61 &&
    bitRate !== undefined &&
    bitRate <= MAX_BIT_RATE
  );
}

function audioPlaysAsIs(audio: AudioStream): boolean {
  return audio.codec === 'aac' && audio.profile === 'LC' && audio.channels <= 2 && audio.sampleRate <= 48_000;
}

/** Scaled by at most `factor`, never enlarged, each side even and at least 2. */
function evenSize(size: EvenSize, factor: number): EvenSize {
  const scale = Math.min(1, factor);
  const even = (pixels: number) => Math.max(2, Math.floor((pixels * scale) / 2 + 1e-6) * 2);
  return { width: even(size.width), height: even(size.height) };
}
