import { rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { MediaFile, TranscodedVideo, Transcoder } from '@backhaul/jobs/media';
import { PermanentFailure } from '@backhaul/queue/job';
import { type EncodeOptions, audioArguments, posterArguments, probeArguments, videoArguments } from './ffmpeg/arguments.ts';
import { ChildDied, type ChildExit, type ChildLimits, runChild } from './ffmpeg/child.ts';
import { PROBE_ENTRIES, type ProbedMedia, readProbe } from './ffmpeg/probe.ts';
import type { Toolchain } from './ffmpeg/toolchain.ts';
import { type VideoPlan, planVideo } from './ffmpeg/video-plan.ts';

/** How ffmpeg is run. */
export interface FfmpegTranscoderOptions {
  readonly toolchain: Toolchain;
  /** Threads of one run; jobs run side by side, so cores divided by jobs. */
  readonly threads: number;
  /** Killed as stuck after so long without progress. */
  readonly stallMs: number;
  readonly limits: ChildLimits;
}

/** ffprobe's answer for 32 streams takes some 20 KB. */
const PROBE_BYTES = 1024 * 1024;

/** Videos and sounds by ffmpeg, each in one process; videos are looked at by one ffprobe first. */
export function ffmpegTranscoder({ toolchain, threads, stallMs, limits }: FfmpegTranscoderOptions): Transcoder {
  interface Run {
    readonly signal: AbortSignal;
    onOutput?(chunk: Buffer): void;
    onProgress?(report: ReadonlyMap<string, string>): void;
  }
  const run = (program: string, args: readonly string[], source: MediaFile, { signal, ...listeners }: Run) =>
    runChild(toolchain, { program, args, cwd: dirname(source.file), stallMs, limits, signal, ...listeners });

  async function probe(source: MediaFile, signal: AbortSignal): Promise<ProbedMedia> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const exit = await run(toolchain.ffprobe, probeArguments(source, PROBE_ENTRIES), source, {
      signal,
      onOutput(chunk) {
        sizeBytes += chunk.length;
        if (sizeBytes <= PROBE_BYTES) chunks.push(chunk);
      },
    });
    if (exit.exitCode !== 0) throw blame(exit);
    return readProbe(Buffer.concat(chunks).toString('utf8'));
  }

  return {
    async toMp4(source, targets, { maxDurationMs, signal, progress }) {
      const media = await probe(source, signal);
      const plan = planVideo(media, maxDurationMs);
      const encode: EncodeOptions = { threads, canTonemap: toolchain.canTonemap, maxDurationMs };
      let failure: ChildExit | undefined;
      for (const attempt of ladder(plan)) {
        let doneMs = 0;
        const exit = await run(toolchain.ffmpeg, videoArguments(source, attempt, targets, encode), source, {
          signal,
          onProgress(report) {
            doneMs = Math.max(doneMs, Math.round(Number(report.get('out_time_us')) / 1_000) || 0);
            // Clamped: ffmpeg's clock runs past the declared end where that was wrong.
            if (attempt.durationMs !== undefined) progress(Math.min(99, (doneMs * 100) / attempt.durationMs));
          },
        });
        if (exit.exitCode !== 0 || (await sizeOf(targets.video)) === 0) {
          failure = exit;
          continue;
        }
        if (doneMs > maxDurationMs) throw new PermanentFailure('too_long', `the video is longer than the ${maxDurationMs} ms that are accepted`);
        if ((await sizeOf(targets.poster)) === 0) {
          await rm(targets.poster, { force: true });
          const second = await run(toolchain.ffmpeg, posterArguments(source, attempt, targets.poster, encode), source, { signal });
          if ((await sizeOf(targets.poster)) === 0) throw blame(second);
        }
        progress(100);
        return describe(attempt, doneMs > 0 ? doneMs : (attempt.durationMs ?? 0));
      }
      throw blame(failure ?? { exitCode: 0, stderr: '' });
    },
    async toMp3(source, target, { maxDurationMs, pcmRate, signal, onPcm }) {
      const exit = await run(toolchain.ffmpeg, audioArguments(source, target, { maxDurationMs, pcmRate }), source, { signal, onOutput: onPcm });
      if (exit.exitCode !== 0) throw blame(exit);
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
    posterWidth: poster.width,
    posterHeight: poster.height,
    fps: Math.min(60, video.fps),
    hasAudio: audioAction !== 'none',
    mode: copied ? 'copied' : 'encoded',
    source: { width: video.width, height: video.height, rotation: video.rotation, videoCodec: video.codec, audioCodec: audio?.codec ?? null },
  };
}

/** ffmpeg has one exit code for everything; its words tell the file's fault from the machine's. */
function blame({ exitCode, stderr }: ChildExit): Error {
  const said = stderr.split('\n').slice(0, 3).join('; ').slice(0, 500) || `exit code ${exitCode}`;
  if (
    /No space left on device|Cannot allocate memory|Too many open files|Resource temporarily unavailable|error while loading shared libraries/i.test(stderr)
  ) {
    return new ChildDied(`ffmpeg ran out of something: ${said}`);
  }
  if (/matches no streams|does not contain any stream/i.test(stderr))
    return new PermanentFailure('type_mismatch', `the file does not hold what the event says: ${said}`);
  if (
    /Decoder .*not found|decoder \(codec .*\) not found|Unsupported codec|Unknown decoder|codec not currently supported|Function not implemented|not yet implemented/i.test(
      stderr,
    )
  ) {
    return new PermanentFailure('unsupported', `the file's codec is not supported: ${said}`);
  }
  return new PermanentFailure('corrupt', `the file cannot be decoded: ${said}`);
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? 0;
}
