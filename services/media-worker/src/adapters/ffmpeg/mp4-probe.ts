import { type FileHandle, open } from 'node:fs/promises';
import { type Box, boxesIn, clockOf, topBoxes } from './mp4-boxes.ts';
import { contentsOf, need } from './mp4-contents.ts';
import { checkMetadata, checkUserData } from './mp4-metadata.ts';
import { hasLength, isClock, rescale } from './mp4-times.ts';
import { type Mp4Track, readTrack, turnOf } from './mp4-track.ts';
import { isNotPlain, must } from './plain.ts';
import { type ProbeAnswer, type ProbedMedia, describeAnswer } from './probe.ts';

/** Boxes that lie side by side in a plain file; more are not looked at. */
const MAX_BOXES = 16;

/** Not those of fragments, nor of pictures. */
const TYPES: ReadonlySet<string> = new Set(['ftyp', 'moov', 'mdat', 'free', 'skip', 'wide']);

/** The index of an hour takes some 3 MB. */
const MAX_INDEX_BYTES = 8 * 1024 ** 2;

/** A phone writes a picture, a sound and four of metadata. */
const MAX_TRACKS = 8;

/** Of a sample; what an encoder says about itself comes before the first picture and takes a kilobyte. */
const HEAD_BYTES = 16 * 1024;

/** `major_brand` (ISO/IEC 14496-12, 4.3) of phones, browsers and editors. */
const BRANDS: ReadonlySet<string> = new Set([
  ...['isom', 'iso2', 'iso3', 'iso4', 'iso5', 'iso6', 'mp41', 'mp42', 'avc1', 'M4V ', 'M4VH', 'MSNV', 'qt  '],
  ...['3gp4', '3gp5', '3gp6', '3gp7'],
]);

/**
 * What ffprobe says of an MP4 or MOV, without starting it, where the file is
 * plain: one picture of H.264, at most one sound of AAC-LC, an index whose
 * tables agree, and all of the data that it promises. undefined for
 * everything else, which ffprobe has to look at.
 *
 * The coded pictures and sounds are not looked at, but for the first few
 * bytes: ffprobe decodes some. What is broken in there ffmpeg finds when it
 * makes the video.
 */
export async function probeMp4(file: string): Promise<ProbedMedia | undefined> {
  const handle = await open(file).catch(() => undefined);
  if (handle === undefined) return undefined;
  await using mp4 = handle;
  try {
    const { size } = await mp4.stat();
    return describeAnswer(await readAnswer(mp4, size));
  } catch (error) {
    if (isNotPlain(error)) return undefined;
    throw error;
  }
}

async function readAnswer(mp4: FileHandle, sizeBytes: number): Promise<ProbeAnswer> {
  const boxes = await topBoxes(mp4, sizeBytes, MAX_BOXES);
  // A file that was cut short, or has something behind its end.
  must(boxes.at(-1)?.end === sizeBytes);
  must(boxes.every(({ type }) => TYPES.has(type)));
  const [brands, indexes] = [of(boxes, 'ftyp'), of(boxes, 'moov')];
  const [[brand], [moov]] = [brands, indexes];
  must(brand !== undefined && moov !== undefined && boxes[0] === brand && brands.length === 1 && indexes.length === 1);
  must(BRANDS.has((await bytesAt(mp4, brand.start, 4)).toString('latin1')));
  must(moov.end - moov.start <= MAX_INDEX_BYTES);
  const { answer, tracks } = readMovie(await bytesAt(mp4, moov.start, moov.end - moov.start), sizeBytes, of(boxes, 'mdat'));
  for (const { kind, first, begins } of tracks) {
    if (kind !== 'data') must(begins(await bytesAt(mp4, first.at, Math.min(first.sizeBytes, HEAD_BYTES))));
  }
  return answer;
}

function of(boxes: readonly Box[], type: string): Box[] {
  return boxes.filter((box) => box.type === type);
}

async function bytesAt(mp4: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await mp4.read(bytes, 0, length, at);
  must(bytesRead === length);
  return bytes;
}

/** `moov`: 8.2.1. */
function readMovie(moov: Buffer, sizeBytes: number, data: readonly Box[]): { answer: ProbeAnswer; tracks: readonly Mp4Track[] } {
  const boxes = contentsOf(moov, ['mvhd', 'udta', 'meta', 'iods'], ['trak', 'free', 'skip']);
  const siblings = boxesIn(moov);
  // Tracks are read by its clock and its matrix.
  must(siblings[0]?.type === 'mvhd');
  checkUserData(boxes.get('udta') ?? Buffer.alloc(0));
  if (boxes.has('meta')) checkMetadata(need(boxes, 'meta'));
  const header = need(boxes, 'mvhd');
  must(hasLength(header, 100, 112));
  const clock = clockOf(header);
  must(isClock(clock) && turnOf(header.subarray(header.length - 64)) === '1,0,0,1');
  const traks = of(siblings, 'trak');
  must(traks.length <= MAX_TRACKS);
  const tracks = traks.map(({ start, end }, index) => readTrack(moov.subarray(start, end), index, { ticksPerSecond: clock.ticksPerSecond, data }));
  must(countOf(tracks, 'video') === 1 && countOf(tracks, 'audio') <= 1);
  // In microseconds, as ffmpeg counts.
  const duration = rescale(clock.ticks, 1_000_000, clock.ticksPerSecond);
  must(duration > 0 && duration < 2 ** 53);
  const bitRate = Math.trunc((sizeBytes * 8 * 1_000_000) / duration);
  return {
    answer: {
      format: { duration: duration / 1_000_000, bit_rate: bitRate > 0 ? bitRate : undefined, nb_streams: tracks.length },
      streams: tracks.map(({ stream }) => stream),
    },
    tracks,
  };
}

function countOf(tracks: readonly Mp4Track[], kind: Mp4Track['kind']): number {
  return tracks.filter((track) => track.kind === kind).length;
}
