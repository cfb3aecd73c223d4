import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Samples } from '../figure.ts';
import { always, compare, contest } from './contest.ts';
import { assertLikePicture, assertSameBytes } from './equivalence.ts';
import { INPUTS } from './inputs.ts';
import { contender, runAll, startBenchWorker } from './worker.ts';

const SIZES = [
  ['full', 2048],
  ['medium', 1024],
  ['thumb', 320],
] as const;

const FIT = { fit: 'inside', withoutEnlargement: true } as const;

type Pictures = Map<string, Buffer>;

/** What sharp alone takes for the same: one decode, three encoders that read its pixels. No queue, no bucket, no database. */
async function rawLoop(original: Buffer): Promise<Pictures> {
  const pictures: Pictures = new Map();
  const { data, info } = await sharp(original, { failOn: 'warning', sequentialRead: true })
    .autoOrient()
    .resize(2048, 2048, FIT)
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const raw = { width: info.width, height: info.height, channels: info.channels };
  for (const [name, maxPx] of SIZES) {
    const pixels = sharp(data, { raw });
    const resized = maxPx < Math.max(info.width, info.height) ? pixels.resize(maxPx, maxPx, FIT) : pixels;
    pictures.set(name, await resized.webp({ quality: 80, effort: 2 }).toBuffer());
  }
  return pictures;
}

/** The usual way: each output from the original anew. Effort 4 is sharp's default. */
async function perVariant(original: Buffer, effort: number): Promise<Pictures> {
  const pictures: Pictures = new Map();
  for (const [name, maxPx] of SIZES) pictures.set(name, await sharp(original).autoOrient().resize(maxPx, maxPx, FIT).webp({ quality: 80, effort }).toBuffer());
  return pictures;
}

/** `media.image`, `media.image_vs_per_variant`, `media.image_vs_per_variant_same_effort` */
export async function benchImages(samples: Samples, rounds: number, env: NodeJS.ProcessEnv, inputs: string): Promise<void> {
  await using worker = await startBenchWorker(env);
  const photo = join(inputs, INPUTS.photo);
  const [original, s3Key] = [await readFile(photo), await worker.upload(photo)];

  // A worker that has been at it for a while is measured, not its compiler.
  await runAll(await worker.jobs('image', s3Key, 40));
  for (const job of await worker.jobs('image', s3Key, 2)) {
    await job.run();
    const { files } = await job.result();
    for (const [name, bytes] of await rawLoop(original)) assertSameBytes(name, files.get(name), bytes);
    // The same settings for another decode, and settings that take longer to save a few bytes.
    for (const [name, bytes] of await perVariant(original, 2)) await assertLikePicture(name, files.get(name), bytes, 0.05);
    for (const [name, bytes] of await perVariant(original, 4)) await assertLikePicture(name, files.get(name), bytes, 0.1);
  }

  const loop = (name: string, jobs: number, make: () => Promise<Pictures>) => always(name, jobs, async () => void (await make()));
  const costs = await contest(samples, rounds, [
    loop('image.raw_loop', 5, () => rawLoop(original)),
    contender(worker, 'image.ours', 5, 'image', s3Key),
    loop('image.per_variant', 2, () => perVariant(original, 4)),
    loop('image.per_variant_same_effort', 2, () => perVariant(original, 2)),
  ]);
  compare(samples, 'media.image', costs, 'image.raw_loop', 'image.ours', 1.1);
  compare(samples, 'media.image_vs_per_variant', costs, 'image.per_variant', 'image.ours');
  compare(samples, 'media.image_vs_per_variant_same_effort', costs, 'image.per_variant_same_effort', 'image.ours');
}
