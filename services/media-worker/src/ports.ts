import type { Database, Holds } from '@backhaul/database';
import type { MediaPorts, Scratch } from '@backhaul/jobs/media';
import type { ObjectStore } from '@backhaul/object-store';
import { ffmpegSounds } from './adapters/ffmpeg-sounds.ts';
import { ffmpegVideos } from './adapters/ffmpeg-videos.ts';
import type { FfmpegOptions } from './adapters/ffmpeg/run.ts';
import type { Toolchain } from './adapters/ffmpeg/toolchain.ts';
import { magicBytes } from './adapters/magic-bytes.ts';
import { pgMessageStore } from './adapters/pg-message-store.ts';
import { s3Derivatives, s3Originals } from './adapters/s3-asset-store.ts';
import { sharpImages } from './adapters/sharp-images.ts';
import type { RunChild } from './sandbox/child.ts';
import { type MediaWorkerConfig, ffmpegThreads } from './config.ts';

/** What the adapters stand on. */
export interface Foundations {
  readonly toolchain: Toolchain;
  readonly runChild: RunChild;
  readonly scratch: Scratch;
  readonly database: Database;
  readonly holds: Holds;
  readonly store: ObjectStore;
}

/** Wires the handlers' ports to the real world. */
export function mediaPorts(config: MediaWorkerConfig, { toolchain, runChild, scratch, database, holds, store }: Foundations): MediaPorts {
  const threads = ffmpegThreads(config);
  const ffmpeg: FfmpegOptions = {
    toolchain,
    runChild,
    threads,
    stallMs: config.FFMPEG_STALL_MS,
    limits: {
      memoryBytes: config.FFMPEG_MEMORY_BYTES,
      // Twice what the longest job may use on all its threads: the job's own limit comes first, this one holds when we are gone.
      cpuSeconds: 600 * threads,
      fileBytes: 2 * config.MEDIA_MAX_VIDEO_BYTES,
    },
  };
  return {
    originals: s3Originals(store),
    derivatives: s3Derivatives(store),
    formats: magicBytes,
    images: sharpImages({
      format: config.MEDIA_IMAGE_FORMAT,
      maxPixels: config.MEDIA_MAX_IMAGE_PIXELS,
      maxPixelsInFlight: config.MEDIA_MAX_PIXELS_IN_FLIGHT ?? 2 * config.MEDIA_MAX_IMAGE_PIXELS,
      maxAnimationFrames: config.MEDIA_MAX_ANIMATION_FRAMES,
      heic: toolchain.heifConvert === undefined ? undefined : { program: toolchain.heifConvert, sandbox: toolchain, runChild },
    }),
    videos: ffmpegVideos(ffmpeg, { shortSidePx: config.MEDIA_VIDEO_SHORT_SIDE, maxBitRate: config.MEDIA_VIDEO_MAX_BIT_RATE }),
    sounds: ffmpegSounds(ffmpeg, { format: config.MEDIA_AUDIO_FORMAT, loudnessLufs: config.MEDIA_AUDIO_LOUDNESS_LUFS }),
    messages: pgMessageStore(database, holds),
    scratch,
    limits: {
      maxBytes: { image: config.MEDIA_MAX_IMAGE_BYTES, video: config.MEDIA_MAX_VIDEO_BYTES, audio: config.MEDIA_MAX_AUDIO_BYTES },
      maxDurationMs: { video: config.MEDIA_MAX_VIDEO_DURATION_MS, audio: config.MEDIA_MAX_AUDIO_DURATION_MS },
      graceMs: config.MEDIA_GRACE_MS,
    },
    settings: { animatedGifToMp4: config.MEDIA_ANIMATED_GIF_TO_MP4, waveformExports: config.MEDIA_WAVEFORM_EXPORTS },
  };
}
