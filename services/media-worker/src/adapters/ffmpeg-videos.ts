import { rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type ConvertOptions,
  type MediaFile,
  type MediaWarning,
  type PcmSink,
  type StillTargets,
  type TranscodedVideo,
  type Videos,
  mediaFailure,
} from '@backhaul/jobs/media';
import { blame, saysTooLarge } from './ffmpeg/blame.ts';
import type { ChildExit } from '../sandbox/child.ts';
import { type Mp4Index, readMp4Index } from './ffmpeg/mp4-index.ts';
import { probeMp4 } from './ffmpeg/mp4-probe.ts';
import { PROBE_ENTRIES, type ProbedMedia, readProbe } from './ffmpeg/probe.ts';
import { type FfmpegOptions, type FfmpegRun, runFfmpeg } from './ffmpeg/run.ts';
import { takeSamples } from './ffmpeg/samples.ts';
import { type EncodeOptions, type VideoTargets, mostCopiedBytes, probeArguments, stillArguments, videoArguments } from './ffmpeg/video-arguments.ts';
import { type PlanFault, type VideoPlan, type VideoSettings, nextPlan, planVideo, roadOf, wallLimitMs } from './ffmpeg/video-plan.ts';

/** ffprobe's answer for 32 streams takes some 20 KB. */
const PROBE_BYTES = 1024 * 1024;

/** Looking at headers, or making two stills, takes a fraction of a second. */
const SHORT_WALL_MS = 60_000;

/** One way was tried: it made the video, or it did not, and why. */
type Tried =
  | { readonly status: 'made'; readonly index: Mp4Index; readonly warnings: readonly MediaWarning[] }
  | { readonly status: 'failed'; readonly fault: PlanFault; readonly error: Error };

type Run = Pick<FfmpegRun, 'source' | 'attempt' | 'signal' | 'wallMs'>;

/** Videos by ffmpeg: one look at the headers, by ffprobe where they are not plain, and one ffmpeg that makes everything. */
export function ffmpegVideos(options: FfmpegOptions, settings: VideoSettings): Videos {
  const { toolchain, threads } = options;

  async function probe(source: MediaFile, convert: ConvertOptions): Promise<ProbedMedia> {
    const plain = source.format === 'mp4' ? await probeMp4(source.file) : undefined;
    return plain ?? askFfprobe(source, convert);
  }

  async function askFfprobe(source: MediaFile, { attempt, signal }: ConvertOptions): Promise<ProbedMedia> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const exit = await runFfmpeg(options, {
      program: toolchain.ffprobe,
      args: probeArguments(source, PROBE_ENTRIES),
      source,
      attempt,
      wallMs: SHORT_WALL_MS,
      signal,
      onOutput(chunk) {
        sizeBytes += chunk.length;
        if (sizeBytes <= PROBE_BYTES) chunks.push(chunk);
      },
    });
    if (exit.exitCode !== 0) throw blame(exit, attempt);
    const media = readProbe(Buffer.concat(chunks).toString('utf8'));
    // Such pictures look like pictures of no size.
    if (media.video === undefined && saysTooLarge(exit.stderr)) throw blame(exit, attempt);
    return media;
  }

  /** undefined when both stills are there in the end; otherwise why not. */
  async function makeStills(run: Run, plan: VideoPlan, targets: StillTargets, atMs: number): Promise<Error | undefined> {
    const args = stillArguments(run.source, plan, targets, { threads }, atMs);
    const exit = await runFfmpeg(options, { ...run, program: toolchain.ffmpeg, args });
    return (await haveStills(targets)) ? undefined : blame(exit, run.attempt);
  }

  async function tryPlan(run: Run, plan: VideoPlan, targets: VideoTargets, convert: ConvertOptions & PcmSink, onTime: (ms: number) => void): Promise<Tried> {
    const encode: EncodeOptions = { ...convert, ...settings, threads: run.attempt > 1 ? 1 : threads };
    await removeAll(targets);
    const exit = await runFfmpeg(options, {
      ...run,
      program: toolchain.ffmpeg,
      args: videoArguments(run.source, plan, targets, encode),
      onProgress: (report) => onTime(Math.round(Number(report.get('out_time_us')) / 1_000) || 0),
    });
    const index = await readMp4Index(targets.video);
    const fault = faultOf(plan, exit, index, run.source);
    if (index === undefined || fault !== undefined) return { status: 'failed', fault: fault ?? 'any', error: blame(exit, run.attempt) };
    const warnings: MediaWarning[] = [];
    if (!(await haveStills(targets))) {
      // Of our own video: it begins with a picture that can be decoded, or it is none.
      const own: MediaFile = { file: targets.video, format: 'mp4', sizeBytes: index.sizeBytes };
      const failed = await makeStills({ ...run, source: own }, ofOurs(plan), targets, 0);
      if (failed !== undefined) return { status: 'failed', fault: 'any', error: failed };
      warnings.push({ code: 'poster_fallback', reason: `there is no picture at ${plan.posterAtMs} ms; the first one is shown` });
    }
    const sampleBytes = await takeSamples(targets.samples, convert.onPcm);
    if (plan.audioAction !== 'none' && sampleBytes === 0) warnings.push({ code: 'waveform_missing', reason: 'the sound could be passed on, but not measured' });
    const missingMs = lacking(plan, index);
    if (missingMs > 0) warnings.push({ code: 'truncated', reason: `the last ${missingMs} ms that the file promises are not there` });
    return { status: 'made', index, warnings };
  }

  return {
    async toMp4(source, wanted, convert) {
      const targets: VideoTargets = { ...wanted, samples: join(dirname(wanted.video), 'samples') };
      const { maxDurationMs, attempt, signal } = convert;
      const media = await probe(source, convert);
      let plan = planVideo(media, { ...settings, maxDurationMs, canTonemap: toolchain.canTonemap });
      const deadline = performance.now() + wallLimitMs(plan.durationMs ?? maxDurationMs);
      let doneMs = 0;
      const onTime = (timeMs: number) => {
        doneMs = Math.max(doneMs, timeMs);
        // Clamped: ffmpeg's clock runs past the declared end where that was wrong.
        if (plan.durationMs !== undefined) convert.progress(Math.min(99, (doneMs * 100) / plan.durationMs));
      };
      for (;;) {
        const wallMs = Math.max(1_000, deadline - performance.now());
        const tried = await tryPlan({ source, attempt, signal, wallMs }, plan, targets, convert, onTime);
        if (tried.status === 'made') {
          if (tried.index.durationMs > maxDurationMs) throw mediaFailure('too_long', `the video is longer than the ${maxDurationMs} ms that are accepted`);
          convert.progress(100);
          return describe(plan, media, tried.index, tried.warnings);
        }
        const next = nextPlan(plan, tried.fault);
        if (next === undefined) throw tried.error;
        plan = next;
      }
    },
    async toStills(source, targets, convert) {
      const { maxDurationMs, attempt, signal } = convert;
      const plan = planVideo(await probe(source, convert), { ...settings, maxDurationMs, canTonemap: toolchain.canTonemap });
      const run: Run = { source, attempt, signal, wallMs: SHORT_WALL_MS };
      await removeAll(targets);
      if ((await makeStills(run, plan, targets, plan.posterAtMs)) === undefined) return;
      const failed = await makeStills(run, plan, targets, 0);
      if (failed !== undefined) throw failed;
    },
  };
}

/**
 * ffmpeg says so at the level of errors, and it says nothing about the video:
 * subtitles, which are left out, and a chapter track that is not there.
 */
const HARMLESS = /not on whitelist|Referenced QT chapter track not found|^\s*Last message repeated/;

/**
 * What is wrong with what was made; undefined when nothing is.
 *
 * A copy counts only when ffmpeg had nothing to complain of: it passes damage
 * on (a block of zeros, blocks of sound that cannot be decoded, clocks that
 * run backwards), where a decoder patches it up. Bits that fell over inside a
 * coded picture are not seen this way; finding them would cost as much as
 * decoding everything.
 */
function faultOf(
  { videoAction, audioAction }: VideoPlan,
  { exitCode, stderr }: ChildExit,
  index: Mp4Index | undefined,
  source: MediaFile,
): PlanFault | undefined {
  if (exitCode !== 0 || index?.pictures === undefined || index.pictures.sampleCount === 0 || index.durationMs === 0) return 'any';
  if (videoAction === 'copy' && index.sizeBytes > mostCopiedBytes(source)) return 'any';
  if (audioAction !== 'none' && (index.sound?.sampleCount ?? 0) === 0) return 'sound';
  const complained = stderr.split('\n').some((line) => line !== '' && !HARMLESS.test(line));
  return complained && (videoAction === 'copy' || audioAction === 'copy') ? 'any' : undefined;
}

/** How much of the video is not there, when that is more than how containers round: 0 otherwise. The last picture's own time is known to few. */
function lacking({ durationMs, video, audio, audioAction }: VideoPlan, index: Mp4Index): number {
  const silenced = audio !== undefined && audioAction === 'none';
  const declaredMs = (silenced ? video.durationMs : undefined) ?? durationMs;
  if (declaredMs === undefined) return 0;
  const toleranceMs = 200 + declaredMs * 0.01 + (video.fps > 0 ? 1_500 / video.fps : 0);
  const missingMs = declaredMs - index.durationMs;
  return missingMs > toleranceMs ? missingMs : 0;
}

/** The plan for a video that we made ourselves: what was to be mended is mended, but for a turn, which a copy keeps. */
function ofOurs(plan: VideoPlan): VideoPlan {
  const { videoAction, video } = plan;
  if (videoAction === 'copy') return { ...plan, video: { ...video, index: 0 } };
  const mended = { interlaced: false, squarePixels: true, pixelFormat: 'yuv420p', colorRange: 'tv', colorSpace: 'bt709', hdr: false };
  return { ...plan, tonemap: false, video: { ...video, ...mended, index: 0 } };
}

function describe(plan: VideoPlan, media: ProbedMedia, index: Mp4Index, more: readonly MediaWarning[]): TranscodedVideo {
  const { video, audio, videoAction, audioAction, size, poster, thumb } = plan;
  const copied = videoAction === 'copy';
  const { sampleCount = 0, durationMs: picturesMs = 0 } = index.pictures ?? {};
  return {
    durationMs: index.durationMs,
    width: copied ? video.displayWidth : size.width,
    height: copied ? video.displayHeight : size.height,
    poster,
    thumb,
    fps: picturesMs === 0 ? 0 : Math.round((sampleCount * 1_000_000) / picturesMs) / 1_000,
    hasAudio: audioAction !== 'none',
    road: roadOf(plan),
    warnings: [...plan.warnings, ...more],
    source: {
      width: video.width,
      height: video.height,
      rotation: video.rotation,
      videoCodec: video.codec,
      audioCodec: audio?.codec ?? null,
      pixelFormat: video.pixelFormat,
      fps: video.fps,
      hdr: video.hdr,
      bitRate: media.bitRate ?? null,
      durationMs: plan.durationMs ?? null,
    },
  };
}

async function haveStills({ poster, thumb }: StillTargets): Promise<boolean> {
  const sizes = await Promise.all([poster, thumb].map(async (file) => (await stat(file).catch(() => undefined))?.size ?? 0));
  return sizes.every((size) => size > 0);
}

/** What an earlier try left is not taken for this one's. */
async function removeAll(targets: StillTargets | VideoTargets): Promise<void> {
  await Promise.all(Object.values(targets).map((file: string) => rm(file, { force: true })));
}
