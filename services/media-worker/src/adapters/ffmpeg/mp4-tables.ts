import type { Box } from './mp4-boxes.ts';
import { type Contents, need } from './mp4-contents.ts';
import { must } from './plain.ts';

/** What a track's tables say of its samples. */
export interface Samples {
  readonly count: number;
  /** How long they last together, by the track's clock. */
  readonly ticks: number;
  /** Where the first one lies in the file, and how large it is. */
  readonly first: { readonly at: number; readonly sizeBytes: number };
}

/** More is not plain: an hour of sound has 170,000 samples. ffmpeg makes an entry of each, also where a table has one number for all of them. */
const MAX_SAMPLES = 2 ** 21;

/** The longest that a sample may last; ffmpeg mends what is longer. */
const MAX_SAMPLE_TICKS = 2 ** 31;

/**
 * Reads the tables of a track (ISO/IEC 14496-12, 8.6 and 8.7), which have to
 * speak of the same samples, all of them inside of `data`.
 * @throws {NotPlain | RangeError} they contradict each other, are cut, or name bytes that are not there
 */
export function readSamples(tables: Contents, data: readonly Box[]): Samples {
  const { count, ticks } = readDurations(need(tables, 'stts'));
  const sizes = readSizes(need(tables, 'stsz'));
  must(count > 0 && count === sizes.count);
  const [offsets, keys] = [tables.get('ctts'), tables.get('stss')];
  if (offsets !== undefined) checkOffsets(offsets, count);
  if (keys !== undefined) checkKeys(keys, count);
  const place = readPlaces(tables);
  let sample = 0;
  eachChunk(need(tables, 'stsc'), place.count, (chunk, samples) => {
    must(samples <= count - sample);
    const start = place.of(chunk);
    let end = start;
    for (let index = 0; index < samples; index++) end += sizes.of(sample++);
    must(data.some((box) => start >= box.start && end <= box.end));
  });
  must(sample === count);
  return { count, ticks, first: { at: place.of(0), sizeBytes: sizes.of(0) } };
}

/** How many entries a table has: their number stands in front of them, and they fill it. */
function entriesOf(table: Buffer, countAt: number, width: number): number {
  const count = table.readUInt32BE(countAt);
  must(table.length === countAt + 4 + count * width);
  return count;
}

/** Time to sample: 8.6.1.2. */
function readDurations(stts: Buffer): { count: number; ticks: number } {
  must(stts.readUInt32BE(0) === 0);
  const entries = entriesOf(stts, 4, 8);
  let [count, ticks] = [0, 0];
  for (let entry = 0; entry < entries; entry++) {
    const [samples, each] = [stts.readUInt32BE(8 + entry * 8), stts.readUInt32BE(12 + entry * 8)];
    // Products of 32 bits are where ffmpeg's sums run over.
    must(samples > 0 && each < MAX_SAMPLE_TICKS && samples * each < 2 ** 32);
    count += samples;
    ticks += samples * each;
    must(count <= MAX_SAMPLES);
  }
  return { count, ticks };
}

/** Composition offsets: 8.6.1.3. They move pictures, but change no length. */
function checkOffsets(ctts: Buffer, count: number): void {
  must(ctts.readUInt8(0) <= 1);
  const entries = entriesOf(ctts, 4, 8);
  let samples = 0;
  for (let entry = 0; entry < entries; entry++) samples += ctts.readUInt32BE(8 + entry * 8);
  must(samples === count);
}

/** Samples that stand alone: 8.6.2. */
function checkKeys(stss: Buffer, count: number): void {
  must(stss.readUInt32BE(0) === 0);
  const entries = entriesOf(stss, 4, 4);
  let last = 0;
  for (let entry = 0; entry < entries; entry++) {
    const sample = stss.readUInt32BE(8 + entry * 4);
    must(sample > last && sample <= count);
    last = sample;
  }
}

/** Sizes: 8.7.3.2, where one of all samples may stand in front. */
function readSizes(stsz: Buffer): { count: number; of(sample: number): number } {
  must(stsz.readUInt32BE(0) === 0);
  const same = stsz.readUInt32BE(4);
  if (same === 0) return { count: entriesOf(stsz, 8, 4), of: (sample) => stsz.readUInt32BE(12 + sample * 4) };
  must(stsz.length === 12);
  return { count: stsz.readUInt32BE(8), of: () => same };
}

/** Chunk offsets: 8.7.5, of 32 or of 64 bits. */
function readPlaces(tables: Contents): { count: number; of(chunk: number): number } {
  const wide = tables.has('co64');
  must(wide !== tables.has('stco'));
  const table = need(tables, wide ? 'co64' : 'stco');
  must(table.readUInt32BE(0) === 0);
  return wide
    ? { count: entriesOf(table, 4, 8), of: (chunk) => Number(table.readBigUInt64BE(8 + chunk * 8)) }
    : { count: entriesOf(table, 4, 4), of: (chunk) => table.readUInt32BE(8 + chunk * 4) };
}

/** Samples in each chunk: 8.7.4. An entry holds until the first chunk of the next one. */
function eachChunk(stsc: Buffer, chunkCount: number, visit: (chunk: number, samples: number) => void): void {
  must(stsc.readUInt32BE(0) === 0);
  const entries = entriesOf(stsc, 4, 12);
  const field = (entry: number, index: number) => stsc.readUInt32BE(8 + entry * 12 + index * 4);
  must(entries > 0 && field(0, 0) === 1);
  for (let entry = 0; entry < entries; entry++) {
    const [first, samples, description] = [field(entry, 0), field(entry, 1), field(entry, 2)];
    const next = entry + 1 < entries ? field(entry + 1, 0) : chunkCount + 1;
    must(next > first && next <= chunkCount + 1 && samples > 0 && description === 1);
    for (let chunk = first; chunk < next; chunk++) visit(chunk - 1, samples);
  }
}
