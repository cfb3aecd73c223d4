import { copyFile, rm, stat } from 'node:fs/promises';
import { type ConvertOptions, type MediaFile, type TranscodedVideo, type Videos, mediaFailure } from '@backhaul/jobs/media';
import { type EncodeOptions, posterArguments, probeArguments, videoArguments } from './ffmpeg/video-arguments.ts';
import { blame } from './ffmpeg/blame.ts';
import type { ChildExit } from '../sandbox/child.ts';
import { PROBE_ENTRIES, type ProbedMedia, readProbe } from './ffmpeg/probe.ts';
import { type FfmpegOptions, runFfmpeg } from './ffmpeg/run.ts';
import { type VideoPlan, planVideo } from './ffmpeg/video-plan.ts';

/** ffprobe's answer for 32 streams takes some 20 KB. */
const PROBE_BYTES = 1024 * 1024;

/** Videos by ffmpeg: one ffprobe looks, one ffmpeg makes everything. */
export function ffmpegVideos(options: FfmpegOptions): Videos {
  const { toolchain, threads } = options;

  async function probe(source: MediaFile, { attempt, signal }: ConvertOptions): Promise<ProbedMedia> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const exit = await runFfmpeg(options, {
      program: toolchain.ffprobe,
      args: probeArguments(source, PROBE_ENTRIES),
      source,
      attempt,
      signal,
      onOutput(chunk) {
        sizeBytes += chunk.length;
        if (sizeBytes <= PROBE_BYTES) chunks.push(chunk);
      },
    });
    if (exit.exitCode !== 0) throw blame(exit, attempt);
    return readProbe(Buffer.concat(chunks).toString('utf8'));
  }

  return {
    async toMp4(source, targets, convert) {
      const { maxDurationMs, attempt, signal, progress } = convert;
      const plan = planVideo(await probe(source, convert), maxDurationMs);
      const encode: EncodeOptions = { threads: attempt > 1 ? 1 : threads, canTonemap: toolchain.canTonemap, maxDurationMs };
      let failure: ChildExit | undefined;
      for (const rung of ladder(plan)) {
        let doneMs = 0;
        const exit = await runFfmpeg(options, {
          program: toolchain.ffmpeg,
          args: videoArguments(source, rung, targets, encode),
          source,
          attempt,
          signal,
          onProgress(report) {
            doneMs = Math.max(doneMs, Math.round(Number(report.get('out_time_us')) / 1_000) || 0);
            // Clamped: ffmpeg's clock runs past the declared end where that was wrong.
            if (rung.durationMs !== undefined) progress(Math.min(99, (doneMs * 100) / rung.durationMs));
          },
        });
        if (exit.exitCode !== 0 || (await sizeOf(targets.video)) === 0) {
          failure = exit;
          continue;
        }
        if (doneMs > maxDurationMs) throw mediaFailure('too_long', `the video is longer than the ${maxDurationMs} ms that are accepted`);
        if ((await sizeOf(targets.poster)) === 0) {
          await rm(targets.poster, { force: true });
          const args = posterArguments(source, rung, targets.poster, encode);
          const second = await runFfmpeg(options, { program: toolchain.ffmpeg, args, source, attempt, signal });
          if ((await sizeOf(targets.poster)) === 0) throw blame(second, attempt);
        }
        await copyFile(targets.poster, targets.thumb);
        progress(100);
        return describe(rung, doneMs > 0 ? doneMs : (rung.durationMs ?? 0));
      }
      throw blame(failure ?? { exitCode: 0, stderr: '' }, attempt);
    },
    async toStills(source, targets, convert) {
      const { maxDurationMs, attempt, signal } = convert;
      const plan = planVideo(await probe(source, convert), maxDurationMs);
      const args = posterArguments(source, plan, targets.poster, { threads, canTonemap: toolchain.canTonemap, maxDurationMs });
      const exit = await runFfmpeg(options, { program: toolchain.ffmpeg, args, source, attempt, signal });
      if ((await sizeOf(targets.poster)) === 0) throw blame(exit, attempt);
      await copyFile(targets.poster, targets.thumb);
    },
  };
}

/**
 * The plan, then what to try when ffmpeg cannot carry it out: pictures that
 * cannot be copied are encoded, a sound track that cannot be read is left out.
 */
function ladder(plan: VideoPlan): VideoPlan[] {
  const rungs = [plan];
  if (plan.videoAction === 'copy' || plan.audioAction === 'copy')
    rungs.push({ ...plan, videoAction: 'encode', audioAction: plan.audioAction === 'none' ? 'none' : 'encode' });
  if (plan.audioAction !== 'none') rungs.push({ ...plan, audioAction: 'none' });
  return rungs;
}

function describe(plan: VideoPlan, durationMs: number): TranscodedVideo {
  const { video, audio, videoAction, audioAction, size, poster } = plan;
  const copied = videoAction === 'copy';
  return {
    durationMs,
    width: copied ? video.displayWidth : size.width,
    height: copied ? video.displayHeight : size.height,
    poster,
    thumb: poster,
    fps: Math.min(60, video.fps),
    hasAudio: audioAction !== 'none',
    road: copied ? 'remux' : 'transcode',
    warnings: [],
    source: {
      width: video.width,
      height: video.height,
      rotation: video.rotation,
      videoCodec: video.codec,
      audioCodec: audio?.codec ?? null,
      pixelFormat: video.pixelFormat,
      fps: video.fps,
      hdr: video.hdr,
      bitRate: null,
      durationMs: plan.durationMs ?? null,
    },
  };
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? 0;
}
