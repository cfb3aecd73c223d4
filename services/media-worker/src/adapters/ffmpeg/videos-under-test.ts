import { mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConvertOptions, MediaFormat } from '@backhaul/jobs/media';
import { type SampleMedia, inspect, sizeOf } from '../../sample-media.ts';
import { ffmpegVideos } from '../ffmpeg-videos.ts';
import { magicBytes } from '../magic-bytes.ts';
import type { FfmpegOptions } from './run.ts';
import { runChild } from '../../sandbox/child.ts';
import type { Toolchain } from './toolchain.ts';
import type { VideoSettings } from './video-plan.ts';

const MIB = 1024 ** 2;

/** What a test may change. */
export interface VideoRun extends Partial<Pick<ConvertOptions, 'maxDurationMs' | 'attempt'>> {
  readonly format?: MediaFormat;
  readonly toolchain?: Partial<Toolchain>;
  readonly stallMs?: number;
  readonly limits?: Partial<FfmpegOptions['limits']>;
  readonly settings?: Partial<VideoSettings>;
}

/** Turns samples into what clients get, and looks at that; for tests. */
export function videosUnderTest(samples: SampleMedia, toolchain: Toolchain) {
  async function start(file: string, run: VideoRun) {
    const folder = await mkdtemp(join(samples.folder, 'job-'));
    const videos = ffmpegVideos(
      {
        runChild,
        toolchain: { ...toolchain, ...run.toolchain },
        threads: 1,
        stallMs: run.stallMs ?? 10_000,
        limits: { memoryBytes: 4_096 * MIB, cpuSeconds: 60, fileBytes: 100 * MIB, ...run.limits },
      },
      { shortSidePx: 720, maxBitRate: 4_500_000, ...run.settings },
    );
    const format = run.format ?? (await magicBytes.sniff(await readFile(file))) ?? 'other';
    const targets = { video: join(folder, 'video.mp4'), poster: join(folder, 'poster.jpg'), thumb: join(folder, 'thumb.jpg') };
    const options: ConvertOptions = { maxDurationMs: run.maxDurationMs ?? 60_000, attempt: run.attempt ?? 1, signal: AbortSignal.timeout(30_000) };
    return { folder, videos, targets, options, source: { file, format, sizeBytes: await sizeOf(file) } };
  }

  return {
    /** What `toMp4` told, and what ffprobe says of its outputs. */
    async toMp4(file: string, run: VideoRun = {}) {
      const { folder, videos, targets, options, source } = await start(file, run);
      const percents: number[] = [];
      const pcm: Buffer[] = [];
      const result = await videos.toMp4(source, targets, {
        ...options,
        pcmRate: 8_000,
        onPcm: (chunk) => pcm.push(chunk),
        progress: (percent) => percents.push(percent),
      });
      const { streams, format } = await inspect(targets.video);
      const of = (type: string) => streams.find((stream) => stream['codec_type'] === type);
      const [poster, thumb] = await Promise.all([targets.poster, targets.thumb].map(async (still) => (await inspect(still)).streams[0]));
      const codes = result.warnings.map(({ code }) => code);
      const pcmMs = Buffer.concat(pcm).length / 16;
      return { result, codes, percents, pcmMs, video: of('video'), audio: of('audio'), streams, format, poster, thumb, targets, folder };
    },
    async toStills(file: string, run: VideoRun = {}) {
      const { folder, videos, targets, options, source } = await start(file, run);
      await videos.toStills(source, targets, options);
      const [poster, thumb] = await Promise.all([targets.poster, targets.thumb].map(async (still) => (await inspect(still)).streams[0]));
      return { folder, poster, thumb };
    },
  };
}

/** The code that a failed run has, also of one that another try may mend. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
    throw error;
  }
  return 'no failure';
}
