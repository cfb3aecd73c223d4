import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MediaMetadata, MEDIA_FAILURES, MEDIA_WARNINGS } from '@backhaul/jobs/media';
import { execa } from 'execa';
import sharp from 'sharp';
import { expect } from 'vitest';
import { PRIVATE } from './private-data.ts';
import type { CorpusRow, DoneExpectation } from './row.ts';
import type { Processed } from './worker-under-test.ts';

type Done = Extract<Processed, { state: 'done' }>;

/** The longer side of each picture at most. */
const LONGEST_PX: Readonly<Record<string, number>> = { full: 2_048, medium: 1_024, thumb: 320, poster: 1_280 };

/** Holds what came of a file against the table. */
export async function checkRow(row: CorpusRow, processed: Processed): Promise<void> {
  const { expect: expected } = row;
  if (expected === 'typed') {
    await checkTyped(processed);
    return;
  }
  if ('failed' in expected) {
    const codes = [expected.failed].flat();
    // The reason stands beside the code, so that a wrong one explains itself.
    expect(outcomeOf(processed)).toEqual({ code: expect.toBeOneOf(codes) as string, reason: expect.any(String) as string });
  } else {
    expect(outcomeOf(processed)).toEqual({ code: 'done', reason: expect.any(String) as string });
    if (processed.state !== 'done') return;
    checkMetadata(expected.done, processed.metadata);
    await checkOutputs(processed);
    if (expected.done.corners !== undefined) await checkCorners(expected.done.corners, processed);
  }
  // A second try means that a decoder crashed, which no file of the table may bring about.
  expect(processed.attempts).toBe(1);
}

/** Done with outputs that are fit to serve, or a failure of the closed list: all that is promised of any file. */
async function checkTyped(processed: Processed): Promise<void> {
  if (processed.state === 'failed') {
    expect(Object.keys(MEDIA_FAILURES)).toContain(processed.code);
    // The service's own troubles are no answer to a file.
    expect(outcomeOf(processed)).not.toMatchObject({ code: 'unavailable' });
    return;
  }
  for (const { code } of processed.metadata.processing.warnings) expect(MEDIA_WARNINGS).toContain(code);
  await checkOutputs(processed);
}

function outcomeOf(processed: Processed): { code: string; reason: string } {
  return processed.state === 'failed' ? { code: processed.code, reason: processed.reason } : { code: 'done', reason: JSON.stringify(processed.metadata) };
}

function checkMetadata(expected: DoneExpectation, metadata: MediaMetadata): void {
  const { width, height, durationMs, toleranceMs = 60, road, hasAudio, animated, warnings = [], mayWarn = [], peaks } = expected;
  const known = Object.entries({ width, height, road, hasAudio, animated }).filter(([, value]) => value !== undefined);
  expect(metadata).toMatchObject(Object.fromEntries(known));
  if (durationMs !== undefined)
    expect(metadata.durationMs).toSatisfy((found: number) => Math.abs(found - durationMs) <= toleranceMs, `${durationMs} ms, give or take ${toleranceMs}`);
  const codes = metadata.processing.warnings.map(({ code }) => code);
  expect(codes).toEqual(expect.arrayContaining([...warnings]));
  expect(metadata.processing.warnings.filter(({ code }) => ![...warnings, ...mayWarn].includes(code))).toEqual([]);
  if (peaks !== undefined) checkPeaks(peaks, Buffer.from(metadata.waveform?.peaks ?? '', 'base64'));
}

function checkPeaks(wanted: 'silent' | 'full' | 'some', peaks: Buffer): void {
  expect(peaks.length).toBeGreaterThan(0);
  const highest = Math.max(...peaks);
  if (wanted === 'silent') expect(highest).toBe(0);
  else expect(highest).toBeGreaterThan(wanted === 'full' ? 240 : 5);
}

async function checkOutputs({ metadata, outputs }: Done): Promise<void> {
  expect(outputs.size).toBeGreaterThan(0);
  for (const [name, bytes] of outputs) {
    const { contentType, sizeBytes, width, height } = metadata.variants[name] ?? {};
    expect(bytes.length).toBe(sizeBytes);
    for (const secret of Object.values(PRIVATE)) expect({ name, secret, found: bytes.includes(secret) }).toEqual({ name, secret, found: false });
    if (contentType?.startsWith('image/') === true) await checkPicture(name, bytes, { width, height });
    else if (contentType === 'video/mp4') await checkVideo(bytes, metadata);
    else if (contentType === 'audio/mpeg') await checkSound(bytes, metadata, { format: 'mp3', codec: 'mp3' });
    else if (contentType === 'audio/mp4') await checkSound(bytes, metadata, { format: 'mov', codec: 'aac' });
    else expect({ name, contentType }).toEqual({ name, contentType: 'one that is looked at' });
  }
}

async function checkPicture(name: string, bytes: Buffer, size: { width: number | undefined; height: number | undefined }): Promise<void> {
  const found = await sharp(bytes).metadata();
  expect(['webp', 'jpeg', 'png', 'gif']).toContain(found.format);
  expect({ width: found.width, height: found.pageHeight ?? found.height }).toEqual(size);
  expect(Math.max(found.width, found.pageHeight ?? found.height)).toBeLessThanOrEqual(LONGEST_PX[name] ?? 0);
  expect([found.exif, found.icc, found.xmp, found.iptc, found.orientation]).toEqual([undefined, undefined, undefined, undefined, undefined]);
  // Nothing lies behind the picture either.
  if (found.format === 'webp') expect(bytes.readUInt32LE(4) + 8).toBe(bytes.length);
  if (found.format === 'jpeg') expect(bytes.subarray(-2)).toEqual(Buffer.from([0xff, 0xd9]));
}

interface Probe {
  readonly streams: readonly {
    readonly codec_type: string;
    readonly codec_name: string;
    readonly pix_fmt?: string;
    readonly channels?: number;
    readonly width?: number;
    readonly height?: number;
    readonly nb_read_packets: string;
    readonly tags?: Readonly<Record<string, string>>;
  }[];
  readonly format: { readonly duration?: string; readonly tags?: Readonly<Record<string, string>> };
}

/** Tags that every MP4 of ffmpeg's has and that say nothing about anybody; the encoder is ours. */
const INNOCENT = new Set(['major_brand', 'minor_version', 'compatible_brands', 'handler_name', 'vendor_id', 'language', 'encoder']);

async function probe(bytes: Buffer, format: string): Promise<Probe> {
  // A file, not a pipe: the duration of an MP3 without a header is told from its size.
  const file = join(tmpdir(), `corpus-output-${randomUUID()}`);
  await writeFile(file, bytes);
  const args = ['-v', 'error', '-count_packets', '-show_streams', '-show_format', '-of', 'json', '-f', format, file];
  const { stdout } = await execa('ffprobe', args, { timeout: 20_000 });
  await rm(file, { force: true });
  const found = JSON.parse(stdout) as Probe;
  const tags = [found.format, ...found.streams].flatMap((one) => Object.keys(one.tags ?? {}));
  expect(tags.filter((tag) => !INNOCENT.has(tag))).toEqual([]);
  for (const { nb_read_packets } of found.streams) expect(Number(nb_read_packets)).toBeGreaterThan(0);
  return found;
}

/** What every browser and phone plays, from its first bytes on. */
async function checkVideo(bytes: Buffer, metadata: MediaMetadata): Promise<void> {
  expect(bytes.indexOf('moov')).toBeLessThan(bytes.indexOf('mdat'));
  // What is only copied cannot become many times as large: an edit list can ask for that.
  if (metadata['road'] === 'remux') expect(bytes.length).toBeLessThan(3 * metadata.source.sizeBytes + 2 * 1024 ** 2);
  const { streams, format } = await probe(bytes, 'mov');
  const [pictures, sounds] = ['video', 'audio'].map((type) => streams.filter(({ codec_type }) => codec_type === type));
  expect(streams.length).toBe((pictures?.length ?? 0) + (sounds?.length ?? 0));
  expect(pictures).toEqual([expect.objectContaining({ codec_name: 'h264' })]);
  expect(['yuv420p', 'yuvj420p']).toContain(pictures?.[0]?.pix_fmt);
  expect([(pictures?.[0]?.width ?? 1) % 2, (pictures?.[0]?.height ?? 1) % 2]).toEqual([0, 0]);
  expect(sounds?.map(({ codec_name }) => codec_name)).toEqual(metadata['hasAudio'] === true ? ['aac'] : []);
  expect(Number(format.duration)).toBeGreaterThan(0);
}

async function checkSound(bytes: Buffer, metadata: MediaMetadata, wanted: { format: string; codec: string }): Promise<void> {
  const { streams, format } = await probe(bytes, wanted.format);
  expect(streams).toEqual([expect.objectContaining({ codec_name: wanted.codec, channels: 1 })]);
  // The encoder fills up its first and last blocks: up to a tenth of a second at low rates.
  expect(Math.abs(Number(format.duration) * 1_000 - (metadata.durationMs ?? Number.NaN))).toBeLessThanOrEqual(200);
}

const COLOURS: Readonly<Record<string, readonly [number, number, number]>> = { red: [255, 0, 0], lime: [0, 255, 0], blue: [0, 0, 255], white: [255, 255, 255] };

async function checkCorners(corners: readonly [string, string], { outputs }: Done): Promise<void> {
  const { data, info } = await sharp(outputs.get('full')).removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  corners.forEach((name, index) => {
    const [x, y] = [Math.floor(info.width * (index === 0 ? 0.1 : 0.9)), Math.floor(info.height * 0.1)];
    const pixel = [...data.subarray((y * info.width + x) * info.channels).subarray(0, 3)];
    const distance = Math.max(...(COLOURS[name] ?? []).map((value, channel) => Math.abs(value - (pixel[channel] ?? 0))));
    expect({ index, pixel, distance }).toEqual({ index, pixel, distance: expect.toSatisfy((far: number) => far < 60, `close to ${name}`) as number });
  });
}
