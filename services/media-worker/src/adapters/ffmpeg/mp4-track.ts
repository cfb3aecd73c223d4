import { type Box, clockOf } from './mp4-boxes.ts';
import { type Contents, FILLING, contentsOf, handlerOf, need } from './mp4-contents.ts';
import { type Description, type Placement, describeAudio, describeData, describeVideo, readEntry } from './mp4-entry.ts';
import { checkMetadata, checkUserData } from './mp4-metadata.ts';
import { type Samples, readSamples } from './mp4-tables.ts';
import { type Length, hasLength, isClock, rescale } from './mp4-times.ts';
import { must } from './plain.ts';

/** A track: what is in it, and where its first sample lies. */
export interface Mp4Track extends Description {
  readonly first: Samples['first'];
}

/** What a track needs to know of its surroundings. */
export interface Movie {
  readonly ticksPerSecond: number;
  /** Where samples may lie. */
  readonly data: readonly Box[];
}

/** Reads `trak` (ISO/IEC 14496-12, 8.3.1). */
export function readTrack(trak: Buffer, index: number, movie: Movie): Mp4Track {
  const boxes = contentsOf(trak, ['tkhd', 'edts', 'mdia', 'tref', 'udta', 'meta'], ['tapt', ...FILLING]);
  const media = contentsOf(need(boxes, 'mdia'), ['mdhd', 'hdlr', 'minf']);
  // ffmpeg goes by what it has read so far.
  must([...boxes.keys()][0] === 'tkhd' && [...media.keys()].join() === 'mdhd,hdlr,minf');
  // Not chapters and time codes, which become streams or change them.
  contentsOf(boxes.get('tref') ?? NOTHING, ['cdsc', 'folw', 'cdep']);
  checkUserData(boxes.get('udta') ?? NOTHING);
  if (boxes.has('meta')) checkMetadata(need(boxes, 'meta'));
  const mediaHeader = need(media, 'mdhd');
  must(hasLength(mediaHeader, 24, 36));
  const clock = clockOf(mediaHeader);
  must(isClock(clock));
  const tables = readInformation(need(media, 'minf'));
  const samples = readSamples(tables, movie.data);
  const shownTicks = readEdits(boxes.get('edts'), clock.ticksPerSecond, movie.ticksPerSecond);
  const length: Length = { ticks: Math.min(clock.ticks, samples.ticks, shownTicks), ticksPerSecond: clock.ticksPerSecond };
  must(length.ticks > 0);
  const placement = readPlacement(need(boxes, 'tkhd'));
  const entry = readEntry(need(tables, 'stsd'));
  switch (handlerOf(need(media, 'hdlr'))) {
    case 'vide':
      return { first: samples.first, ...describeVideo(index, entry, placement, samples, length) };
    case 'soun':
      // Sound without blocks, of one tick a sample, is of another age.
      must(samples.ticks > samples.count);
      return { first: samples.first, ...describeAudio(index, entry) };
    case 'meta':
      return { first: samples.first, ...describeData(index, entry) };
    default:
      must(false);
  }
}

const NOTHING: Buffer = Buffer.alloc(0);

/** The tables of `minf`: 8.4.4. */
function readInformation(minf: Buffer): Contents {
  const boxes = contentsOf(minf, ['hdlr', 'dinf', 'stbl'], ['vmhd', 'smhd', 'nmhd', 'gmhd', ...FILLING]);
  // QuickTime's, of the data; ffmpeg takes it for the track's when it says so.
  if (boxes.has('hdlr')) must(['url ', 'alis'].includes(handlerOf(need(boxes, 'hdlr'))));
  checkReference(need(boxes, 'dinf'));
  return contentsOf(need(boxes, 'stbl'), ['stsd', 'stts', 'ctts', 'stss', 'stsc', 'stsz', 'stco', 'co64'], ['sdtp', 'cslg', 'sgpd', 'sbgp', ...FILLING]);
}

/** The samples lie in this file: 8.7.2. */
function checkReference(dinf: Buffer): void {
  const dref = need(contentsOf(dinf, ['dref']), 'dref');
  must(dref.readUInt32BE(0) === 0 && dref.readUInt32BE(4) === 1);
  const entries = contentsOf(dref.subarray(8), ['url ', 'alis']);
  const [entry] = entries.values();
  must(entries.size === 1 && entry?.length === 4 && entry.readUInt32BE(0) === 1);
}

/** Edits that only move a track: one that shows it, perhaps behind one that waits (8.6.6). Returns how long they last, by the track's clock. */
function readEdits(edts: Buffer | undefined, trackClock: number, movieClock: number): number {
  if (edts === undefined) return Infinity;
  const elst = need(contentsOf(edts, ['elst']), 'elst');
  const wide = elst.readUInt8(0) === 1;
  const [count, width] = [elst.readUInt32BE(4), wide ? 20 : 12];
  must(elst.readUInt8(0) <= 1 && (count === 1 || count === 2) && elst.length === 8 + count * width);
  let ticks = 0;
  for (let entry = 0; entry < count; entry++) {
    const at = 8 + entry * width;
    const length = wide ? Number(elst.readBigUInt64BE(at)) : elst.readUInt32BE(at);
    const start = wide ? Number(elst.readBigInt64BE(at + 8)) : elst.readInt32BE(at + 4);
    must(length > 0 && length < 2 ** 48 && elst.readUInt32BE(at + width - 4) === 0x10000);
    // The last one shows.
    must(entry === count - 1 ? start >= 0 && start < 2 ** 48 : start === -1);
    ticks += rescale(length, trackClock, movieClock);
  }
  return ticks;
}

/** Clockwise degrees by what turns in a matrix. */
const TURNS: Readonly<Record<string, number>> = { '1,0,0,1': 0, '0,1,-1,0': 90, '-1,0,0,-1': 180, '0,-1,1,0': 270 };

/** `tkhd`: 8.3.2. */
function readPlacement(tkhd: Buffer): Placement {
  must(hasLength(tkhd, 84, 96));
  const at = tkhd.length - 44;
  const rotation = TURNS[turnOf(tkhd.subarray(at))];
  must(rotation !== undefined);
  return { rotation, width: tkhd.readUInt16BE(at + 36), height: tkhd.readUInt16BE(at + 40) };
}

/** The matrix without where it moves things to; `?` where it does more than turn. */
export function turnOf(matrix: Buffer): string {
  const at = (index: number) => matrix.readInt32BE(index * 4);
  const plain = at(2) === 0 && at(5) === 0 && at(8) === 2 ** 30;
  return plain ? [at(0), at(1), at(3), at(4)].map((value) => value / 65_536).join() : '?';
}
