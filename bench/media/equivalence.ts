import sharp from 'sharp';
import { shell } from './shell.ts';

/** Refuses a comparison with something that makes other bytes. */
export function assertSameBytes(what: string, ours: Buffer | undefined, baseline: Buffer): void {
  if (ours?.equals(baseline) !== true) throw new Error(`${what}: ours has ${ours?.length ?? 0} bytes, the baseline's ${baseline.length} are not the same`);
}

/** Refuses a comparison with a picture of another size in pixels, or whose bytes are more or fewer by more than a part of ours. */
export async function assertLikePicture(what: string, ours: Buffer | undefined, baseline: Buffer, tolerance: number): Promise<void> {
  if (ours === undefined) throw new Error(`${what}: ours is not there`);
  const [left, right] = await Promise.all([sharp(ours).metadata(), sharp(baseline).metadata()]);
  if (left.width !== right.width || left.height !== right.height)
    throw new Error(`${what}: ours is ${left.width} x ${left.height}, the baseline's ${right.width} x ${right.height}`);
  assertNear(`${what}, bytes`, ours.length, baseline.length, tolerance);
}

/** Refuses a comparison where a number differs by more than a part of ours. */
export function assertNear(what: string, ours: number, baseline: number, tolerance: number): void {
  if (!(Math.abs(ours - baseline) <= tolerance * ours))
    throw new Error(`${what}: ours is ${ours}, the baseline's ${baseline}, further apart than ${tolerance}`);
}

/** What a video file is, by ffprobe. */
export async function readVideo(file: string): Promise<{ readonly width: number; readonly height: number; readonly durationMs: number }> {
  const entries = ['-show_entries', 'stream=width,height:format=duration', '-select_streams', 'v:0'];
  const answer = JSON.parse(await shell('ffprobe', ['-v', 'error', ...entries, '-of', 'json', file], { output: true })) as {
    streams: { width: number; height: number }[];
    format: { duration: string };
  };
  const [picture = { width: 0, height: 0 }] = answer.streams;
  return { ...picture, durationMs: Number(answer.format.duration) * 1_000 };
}
