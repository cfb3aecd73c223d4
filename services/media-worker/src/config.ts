import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { databaseEnv } from '@backhaul/database';
import { media } from '@backhaul/jobs/media';
import { objectStoreEnv } from '@backhaul/object-store';
import { concurrency, redisEnv, workerEnv } from '@backhaul/queue';
import { bool, bytes, integer, milliseconds, serviceEnv, text } from '@backhaul/runtime';
import { z } from 'zod';

const MIB = 1024 ** 2;

/** Names with commas between them; none by default. */
function listOf<const Name extends string>(names: readonly [Name, ...Name[]]) {
  return z
    .string()
    .default('')
    .transform((given) =>
      given
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== ''),
    )
    .pipe(z.array(z.enum(names)));
}

/** The environment of the media worker. */
export const mediaWorkerConfig = z.object({
  ...serviceEnv,
  ...redisEnv,
  ...databaseEnv,
  ...workerEnv,
  ...objectStoreEnv,
  /** Pictures, videos and sounds that one process works on at once. Memory in flight grows with it: a picture holds its file and up to 64 million pixels. */
  MEDIA_CONCURRENCY: concurrency(media.concurrency),
  /** The largest upload of each kind. */
  MEDIA_MAX_IMAGE_BYTES: bytes({ min: 1 }).default(50 * MIB),
  MEDIA_MAX_VIDEO_BYTES: bytes({ min: 1 }).default(500 * MIB),
  MEDIA_MAX_AUDIO_BYTES: bytes({ min: 1 }).default(50 * MIB),
  /** The most pixels of a picture; more are refused before they are decoded. */
  MEDIA_MAX_IMAGE_PIXELS: integer({ min: 1, max: 268_402_689 }).default(64_000_000),
  /** The most pixels of all pictures that are being decoded at once; the others wait. Twice MEDIA_MAX_IMAGE_PIXELS if not set. */
  MEDIA_MAX_PIXELS_IN_FLIGHT: integer({ min: 1, max: 4_000_000_000 }).optional(),
  /** The most pictures of an animation that are kept. */
  MEDIA_MAX_ANIMATION_FRAMES: integer({ min: 1, max: 10_000 }).default(600),
  /** What pictures become: webp, or jpeg (with png and gif where JPEG cannot do it) for clients that do not know WebP. */
  MEDIA_IMAGE_FORMAT: z.enum(['webp', 'jpeg']).default('webp'),
  /** The longest video; encoding it must fit into the job's five minutes. */
  MEDIA_MAX_VIDEO_DURATION_MS: milliseconds().default(15 * 60_000),
  /** The longest sound. */
  MEDIA_MAX_AUDIO_DURATION_MS: milliseconds().default(30 * 60_000),
  /** How long an upload or message row that is not there yet is waited for inside one try. */
  MEDIA_GRACE_MS: milliseconds({ min: 0, max: 30_000 }).default(2_000),
  /** The shorter side of the videos that are made, in pixels; smaller ones keep their size. */
  MEDIA_VIDEO_SHORT_SIDE: integer({ min: 144, max: 2_160 }).default(720),
  /** Bits a second: the most that a video may need to be passed on as it is, and the cap of those that are made. */
  MEDIA_VIDEO_MAX_BIT_RATE: integer({ min: 100_000, max: 100_000_000 }).default(4_500_000),
  /** Animated GIFs become an MP4 as well. */
  MEDIA_ANIMATED_GIF_TO_MP4: bool().default(false),
  /** What sounds become: mp3, or aac (.m4a), both mono at 64 kbit/s. */
  MEDIA_AUDIO_FORMAT: z.enum(['mp3', 'aac']).default('mp3'),
  /** Bring all sounds to one loudness, in LUFS: -16 is usual for speech. As they are if not set: it takes two to two and a half times the CPU. */
  MEDIA_AUDIO_LOUDNESS_LUFS: integer({ min: -70, max: -5 }).optional(),
  /** Other clients' forms of a sound's waveform: any of discord, telegram, whatsapp, bbc, with commas. */
  MEDIA_WAVEFORM_EXPORTS: listOf(['discord', 'telegram', 'whatsapp', 'bbc']),
  /** Where work in progress lies; needs room for the largest video three times per job. */
  MEDIA_TEMP_DIR: text().default(join(tmpdir(), 'backhaul-media')),
  /** So much of its disk is always left free; a job that would need it waits for its next try. */
  MEDIA_TEMP_MIN_FREE_BYTES: bytes().default(256 * MIB),
  /** best: decoders run behind every guard that works on this machine, and missing ones are warned of; strict: without all of them the worker refuses to start. */
  MEDIA_SANDBOX: z.enum(['best', 'strict']).default('best'),
  FFMPEG_PATH: text().default('ffmpeg'),
  FFPROBE_PATH: text().default('ffprobe'),
  /** libheif's decoder; where there is none, HEIC pictures are refused. */
  HEIF_CONVERT_PATH: text().default('heif-convert'),
  /** Threads of one ffmpeg; if not set, the cores divided by MEDIA_CONCURRENCY. */
  FFMPEG_THREADS: integer({ min: 1, max: 64 }).optional(),
  /** An ffmpeg that makes no progress for so long is killed. */
  FFMPEG_STALL_MS: milliseconds({ min: 1_000 }).default(30_000),
  /** The address space of one ffmpeg, where the machine can limit it. */
  FFMPEG_MEMORY_BYTES: bytes({ min: 256 * MIB }).default(4_096 * MIB),
  /** Read by Node itself before this program starts: threads for decoding pictures, files and names. At least MEDIA_CONCURRENCY + 2. */
  UV_THREADPOOL_SIZE: integer({ min: 1, max: 1_024 }).default(4),
});

/** What `loadConfig` makes of the environment. */
export type MediaWorkerConfig = z.output<typeof mediaWorkerConfig>;

/** Jobs run side by side: more threads than cores would only wait for each other. */
export function ffmpegThreads(config: Pick<MediaWorkerConfig, 'FFMPEG_THREADS' | 'MEDIA_CONCURRENCY'>): number {
  return config.FFMPEG_THREADS ?? Math.max(1, Math.floor(availableParallelism() / config.MEDIA_CONCURRENCY));
}
