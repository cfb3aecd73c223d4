import { existsSync, globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { repositoryRoot, sharedStack } from '@backhaul/testing';
import { execa } from 'execa';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkRow } from './check-outputs.ts';
import { type CorpusTools, corpusTools } from './generate.ts';
import { PRIVATE_EXIF, PRIVATE_XMP } from './private-data.ts';
import type { DoneExpectation } from './row.ts';
import { type Processed, type WorkerUnderTest, startWorkerUnderTest } from './worker-under-test.ts';

/** Where `make test-slow` puts what it takes from Debian (scripts/samples.sh). */
const SAMPLES = join(repositoryRoot, '.backhaul', 'samples');

const photos = globSync(join(SAMPLES, 'photos/usr/share/backgrounds/**/*.jpg')).toSorted();
const speech = globSync(join(SAMPLES, 'speech/usr/share/asterisk/sounds/**/*.wav')).toSorted();
const [amrLibraries] = globSync(join(SAMPLES, 'amr/usr/lib/*')).filter((folder) => existsSync(join(folder, 'libopencore-amrnb.so.0')));

/** Every ninth, from the shortest to the longest kind: some sixty. The digits alone are hundreds. */
const clips = speech.filter((_, index) => index % 9 === 0);

let worker: WorkerUnderTest;
let tools: CorpusTools;

beforeAll(async () => {
  worker = await startWorkerUnderTest({ concurrency: 2, env: sharedStack().env });
  tools = await corpusTools(worker.canaryUrl);
});
afterAll(() => worker[Symbol.asyncDispose]());

type Done = Extract<Processed, { state: 'done' }>;

/** Processed and held against what is wanted. */
async function process(kind: 'image' | 'audio', bytes: Buffer, done: DoneExpectation): Promise<Done> {
  const processed = await worker.process(bytes, kind);
  await checkRow({ name: 'real', kind, make: async () => bytes, expect: { done } }, processed);
  if (processed.state !== 'done') throw new Error('not done');
  return processed;
}

/** How far two pictures of 64 x 64 are apart in the mean, 0 to 255. */
async function distance(one: Buffer, other: Buffer): Promise<number> {
  const [a, b] = await Promise.all(
    [one, other].map((bytes) => sharp(bytes).autoOrient().resize(64, 64, { fit: 'fill' }).removeAlpha().toColourspace('srgb').raw().toBuffer()),
  );
  if (a === undefined || b === undefined) throw new Error('nothing to compare');
  return a.reduce((sum, value, index) => sum + Math.abs(value - (b[index] ?? 0)), 0) / a.length;
}

test('the samples are here where they can be had', (context) => {
  if (photos.length > 0 && speech.length > 0) return;
  if (globalThis.process.env['CI'] === 'true') throw new Error('no samples: make test-slow brings them');
  context.skip('no real photos and speech here: make test-slow brings them on Debian');
});

describe.runIf(photos.length > 0)('photos', () => {
  test.concurrent.for(photos)('%s', { timeout: 120_000 }, async (file) => {
    const bytes = await readFile(file);
    const { width, height } = await sharp(bytes).metadata();
    const { outputs, metadata } = await process('image', bytes, { width, height, animated: false });
    expect([...outputs.keys()].toSorted()).toEqual(['full', 'medium', 'thumb']);
    for (const output of outputs.values()) expect(await distance(bytes, output)).toBeLessThan(6);
    expect(metadata.placeholder?.thumbhash).toMatch(/^[\w+/=]{20,44}$/);
  });

  test('as a phone stores them, on their side, with its owner written into them', { timeout: 120_000 }, async () => {
    const source = photos.find((file) => basename(file) === 'RainDrops.jpg') ?? photos[0] ?? '';
    const bytes = await sharp(source).withExif(PRIVATE_EXIF).withXmp(PRIVATE_XMP).withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const { width, height } = await sharp(source).metadata();
    const { outputs } = await process('image', bytes, { width: height, height: width });
    expect(await distance(bytes, outputs.get('full') ?? bytes)).toBeLessThan(6);
  });

  test('as HEIC', { timeout: 120_000 }, async () => {
    const source = await readFile(photos.find((file) => basename(file) === 'Storm.jpg') ?? photos[0] ?? '');
    const { width, height } = await sharp(source).metadata();
    const { outputs } = await process('image', await tools.heic(await sharp(source).png().toBuffer()), { width, height });
    for (const output of outputs.values()) expect(await distance(source, output)).toBeLessThan(8);
  });
});

/** Samples and rate by the header. */
function lengthOf(wav: Buffer): number {
  const data = wav.indexOf('data', 12);
  return (wav.readUInt32LE(data + 4) / wav.readUInt32LE(28)) * 1_000;
}

/** Speech has loud and quiet parts: the peaks are neither flat nor silent. */
function expectSpeech({ metadata }: Done): void {
  const peaks = [...Buffer.from(metadata.waveform?.peaks ?? '', 'base64')];
  expect(Math.max(...peaks)).toBeGreaterThan(40);
  const mean = peaks.reduce((sum, peak) => sum + peak, 0) / peaks.length;
  expect(Math.sqrt(peaks.reduce((sum, peak) => sum + (peak - mean) ** 2, 0) / peaks.length)).toBeGreaterThan(8);
}

describe.runIf(speech.length > 0)('speech', () => {
  const spoken = clips.filter((file) => !file.includes('silence'));

  test.concurrent.for(spoken)('%s', { timeout: 120_000 }, async (file) => {
    const bytes = await readFile(file);
    const durationMs = lengthOf(bytes);
    // Exact: samples are counted, and 8 kHz is the rate that they are counted at.
    const done = await process('audio', bytes, { durationMs, toleranceMs: 1 });
    expectSpeech(done);
  });

  const long = spoken.filter((file) => existsSync(file)).slice(0, 5);
  const encodings: readonly (readonly [string, readonly string[]])[] = [
    ['ogg', ['-c:a', 'libopus', '-b:a', '24k']],
    ['webm', ['-c:a', 'libopus', '-live', '1']],
    ['m4a', ['-c:a', 'aac']],
    ['mp3', ['-c:a', 'libmp3lame']],
  ];
  // AAC fills up its last block, which at 8 kHz lasts 128 ms.
  test.for(encodings)('as people send it: %s', { timeout: 120_000 }, async ([extension, codec]) => {
    for (const file of long) {
      const durationMs = lengthOf(await readFile(file));
      expectSpeech(await process('audio', await tools.ffmpeg(extension, ['-i', file, ...codec]), { durationMs, toleranceMs: 130 }));
    }
  });

  const amr: readonly (readonly [string, string, string])[] = [
    ['amr', 'libopencore_amrnb', '8000'],
    ['3gp', 'libopencore_amrnb', '8000'],
    ['amr', 'libvo_amrwbenc', '16000'],
  ];
  test.runIf(amrLibraries !== undefined).for(amr)('as phones record it: %s, %s', { timeout: 120_000 }, async ([extension, codec, rate]) => {
    for (const file of long) {
      const target = join(worker.scratchRoot, `${basename(file)}-${codec}.${extension}`);
      const args = ['-nostdin', '-v', 'error', '-y', '-i', file, '-ac', '1', '-ar', rate, '-c:a', codec, target];
      await execa('ffmpeg', args, { env: { LD_LIBRARY_PATH: amrLibraries ?? '' }, timeout: 30_000 });
      const durationMs = lengthOf(await readFile(file));
      expectSpeech(await process('audio', await readFile(target), { durationMs, toleranceMs: 45 }));
    }
  });
});
