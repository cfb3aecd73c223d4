import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ffmpegThreads } from '../../services/media-worker/src/config.ts';
import type { Samples } from '../figure.ts';
import { always, compare, contest } from './contest.ts';
import { assertLikePicture, assertNear, assertSameBytes, readVideo } from './equivalence.ts';
import { INPUTS } from './inputs.ts';
import { originalIn, recordRun, repeat } from './recorded-run.ts';
import { shell } from './shell.ts';
import { type BenchWorker, type MediaJob, contender, runAll, startBenchWorker } from './worker.ts';

/** Runs one job and sees that it took the road that is to be measured. */
async function warmUp(worker: BenchWorker, s3Key: string, road: string): Promise<Awaited<ReturnType<MediaJob['result']>>> {
  const [job] = await worker.jobs('video', s3Key, 1);
  if (job === undefined) throw new Error('there is no job');
  await job.run();
  const result = await job.result();
  if (result.metadata.road !== road) throw new Error(`the video went by ${String(result.metadata.road)}, not by ${road}`);
  return result;
}

/** `media.transcode`, `media.transcode_vs_three_runs` */
export async function benchTranscode(samples: Samples, rounds: number, env: NodeJS.ProcessEnv, inputs: string, work: string): Promise<void> {
  await using worker = await startBenchWorker(env);
  const clip = join(inputs, INPUTS.clip);
  const run = await recordRun(env, 'video', clip);
  const folder = await originalIn(work, clip);
  const s3Key = await worker.upload(clip);
  const { metadata, files } = await warmUp(worker, s3Key, 'transcode');
  const { poster, thumb } = metadata.variants;
  if (poster?.width === undefined || thumb?.width === undefined) throw new Error('the job made no stills');
  const peers = () => oneRunEach(clip, folder, { threads: ffmpegThreads(worker.config), posterWidth: poster.width ?? 0, thumbWidth: thumb.width ?? 0 });

  await repeat(run, folder);
  assertSameBytes('the video', files.get('video'), await readFile(join(folder, 'video.mp4')));
  await peers();
  const [made, theirs] = await Promise.all([readVideo(join(folder, 'video.mp4')), readVideo(join(folder, 'peers.mp4'))]);
  if (made.width !== theirs.width || made.height !== theirs.height) throw new Error('the peers made a video of another size');
  assertNear('duration', made.durationMs, theirs.durationMs, 0.01);
  assertNear('bytes of the video', files.get('video')?.length ?? 0, (await stat(join(folder, 'peers.mp4'))).size, 0.05);
  // Seeking finds another picture than the one that passes by: a few more bytes or fewer.
  for (const name of ['poster', 'thumb']) await assertLikePicture(name, files.get(name), await readFile(join(folder, `peers-${name}.jpg`)), 0.25);

  const costs = await contest(samples, rounds, [
    always('transcode.bare', 1, () => repeat(run, folder)),
    contender(worker, 'transcode.ours', 1, 'video', s3Key),
    always('transcode.three_runs', 1, peers),
  ]);
  compare(samples, 'media.transcode', costs, 'transcode.bare', 'transcode.ours', 1.1);
  compare(samples, 'media.transcode_vs_three_runs', costs, 'transcode.three_runs', 'transcode.ours');
}

/** As the peers do it: a look, then a run for each output, with our settings. The stills seek, which is the cheapest way to one picture. */
async function oneRunEach(file: string, folder: string, options: { threads: number; posterWidth: number; thumbWidth: number }): Promise<void> {
  const ffmpeg = (...args: string[]) => shell('ffmpeg', ['-nostdin', '-v', 'error', '-y', '-threads', String(options.threads), ...args]);
  const still = (name: string, width: number) =>
    ffmpeg('-ss', '1', '-i', file, '-frames:v', '1', '-vf', `scale=${width}:-2`, '-q:v', '4', '-update', '1', join(folder, `peers-${name}.jpg`));
  const encoder = ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-profile:v', 'high', '-pix_fmt', 'yuv420p', '-threads', String(options.threads)];
  const cap = ['-maxrate', '4500000', '-bufsize', '9000000'];
  await shell('ffprobe', ['-v', 'error', '-show_streams', '-show_format', '-of', 'json', file]);
  await ffmpeg('-i', file, '-vf', 'scale=-2:720', ...encoder, ...cap, '-c:a', 'copy', '-movflags', '+faststart', join(folder, 'peers.mp4'));
  await still('poster', options.posterWidth);
  await still('thumb', options.thumbWidth);
  await ffmpeg('-i', file, '-vn', '-ac', '1', '-ar', '8000', '-f', 's16le', 'pipe:1');
}

/** `media.remux` */
export async function benchRemux(samples: Samples, rounds: number, env: NodeJS.ProcessEnv, inputs: string, work: string): Promise<void> {
  await using worker = await startBenchWorker(env);
  const playable = join(inputs, INPUTS.playable);
  // What we would run on it if it had to be encoded: the arguments for its twin that has to.
  const run = await recordRun(env, 'video', join(inputs, INPUTS.unplayable));
  const folder = await originalIn(work, playable);
  const s3Key = await worker.upload(playable);
  const { metadata } = await warmUp(worker, s3Key, 'remux');
  // A worker that has been at it for a while is measured, not its compiler.
  await runAll(await worker.jobs('video', s3Key, 40));

  await repeat(run, folder);
  const encoded = await readVideo(join(folder, 'video.mp4'));
  if (encoded.width !== metadata.width || encoded.height !== metadata.height) throw new Error('encoding makes a video of another size');
  assertNear('duration', metadata.durationMs ?? 0, encoded.durationMs, 0.01);

  const costs = await contest(samples, rounds, [always('remux.transcode', 1, () => repeat(run, folder)), contender(worker, 'remux.ours', 10, 'video', s3Key)]);
  compare(samples, 'media.remux', costs, 'remux.transcode', 'remux.ours');
}
