import { seededRandom } from './bytes.ts';
import type { CorpusRow } from './row.ts';
import { CORPUS } from './table.ts';

/** Small good files, one of each decoder, that are damaged in a thousand ways (E-03). */
const BASES: readonly string[] = [
  'image jpeg, baseline',
  'image jpeg, progressive',
  'image png, 8 bit',
  'image webp, lossy',
  'image webp, animated with alpha',
  'image gif, animated',
  'image avif, 8 bit',
  'image heic, 8 bit',
  'video mp4, h264 + aac, index at its end',
  'video mkv, h264 + aac',
  'video webm, vp9 + opus',
  'audio ogg, opus',
  'audio m4a, aac',
  'audio mp3, varying rate',
  'audio flac',
  'audio amr, narrow band',
];

/** One damaged file: the same for the same seed. */
export interface Mutation {
  readonly seed: number;
  readonly row: CorpusRow;
  /** What is done to it, for the test's name. */
  readonly name: string;
  apply(bytes: Buffer): Buffer;
}

/** The first `count` of the one list. One in four is cut off somewhere, the others have 1 to 20 bytes changed. */
export function mutations(count: number): readonly Mutation[] {
  const bases = BASES.map(find);
  return Array.from({ length: count }, (_, index) => mutation(index + 1, bases));
}

function find(wanted: string): CorpusRow {
  const row = CORPUS.find(({ kind, name }) => `${kind} ${name}` === wanted);
  if (row === undefined) throw new Error(`the corpus has no ${wanted}`);
  return row;
}

function mutation(seed: number, bases: readonly CorpusRow[]): Mutation {
  const random = seededRandom(seed);
  // The first numbers of neighbouring seeds are alike.
  random();
  const row = bases[seed % bases.length];
  if (row === undefined) throw new Error('there are no bases');
  if (random() % 4 === 0) {
    const part = (random() % 10_000) / 10_000;
    return { seed, row, name: `${row.name}, cut at ${part * 100} %`, apply: (bytes) => bytes.subarray(0, Math.max(1, Math.floor(bytes.length * part))) };
  }
  const changes = Array.from({ length: 1 + (random() % 20) }, () => ({ place: random(), bits: 1 + (random() % 255) }));
  return {
    seed,
    row,
    name: `${row.name}, ${changes.length} bytes changed`,
    apply(bytes) {
      const copy = Buffer.from(bytes);
      for (const { place, bits } of changes) copy[place % copy.length] = (copy[place % copy.length] ?? 0) ^ bits;
      return copy;
    },
  };
}

/** A JPEG cut off at a hundred places, from its third byte to 95 %: the codes behind that add no pixel to so plain a picture (E-03). */
export function cutJpegs(): readonly CorpusRow[] {
  const row = find('image jpeg, full chroma');
  return Array.from({ length: 100 }, (_, index) => ({
    kind: row.kind,
    name: `jpeg, cut at place ${index} of 100`,
    async make(tools) {
      const bytes = await row.make(tools);
      return bytes.subarray(0, 3 + Math.floor((bytes.length * 0.95 * index) / 100));
    },
    expect: { failed: 'corrupt' },
  }));
}

/** The mutations as rows: whatever comes of them, it is done or a failure of the closed list. */
export function mutatedRows(count: number): readonly CorpusRow[] {
  return mutations(count).map(({ seed, row, name, apply }) => ({
    kind: row.kind,
    name: `seed ${seed}: ${name}`,
    make: async (tools) => apply(await row.make(tools)),
    expect: 'typed',
  }));
}
