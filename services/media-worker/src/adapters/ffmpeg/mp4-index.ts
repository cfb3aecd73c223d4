import { open } from 'node:fs/promises';
import { clockOf, inside, topBoxes } from './mp4-boxes.ts';

/** What an MP4 of ours says of itself. */
export interface Mp4Index {
  readonly durationMs: number;
  readonly sizeBytes: number;
  /** undefined when it has no track of the kind. */
  readonly pictures: Mp4Track | undefined;
  readonly sound: Mp4Track | undefined;
}

/** One track. */
export interface Mp4Track {
  /** Coded pictures, or blocks of sound. */
  readonly sampleCount: number;
  readonly durationMs: number;
}

/** The index of an hour takes some 3 MB. */
const MAX_INDEX_BYTES = 64 * 1024 ** 2;

const EMPTY: Buffer = Buffer.alloc(0);

/** Boxes that lie side by side in a file of ours; the most that are looked at. */
const MAX_BOXES = 16;

/**
 * Reads the index of an MP4 that ffmpeg has just written: a check of the
 * output that costs no third process. Boxes as in ISO/IEC 14496-12.
 * undefined when there is none, it is not whole, or the index does not come
 * before the pictures.
 */
export async function readMp4Index(file: string): Promise<Mp4Index | undefined> {
  const handle = await open(file).catch(() => undefined);
  if (handle === undefined) return undefined;
  await using mp4 = handle;
  const { size } = await mp4.stat();
  const boxes = await topBoxes(mp4, size, MAX_BOXES);
  const index = boxes.findIndex(({ type }) => type === 'moov');
  const data = boxes.findIndex(({ type }) => type === 'mdat');
  const moov = boxes[index];
  if (moov === undefined || data < index || boxes.at(-1)?.end !== size || moov.end - moov.start > MAX_INDEX_BYTES) return undefined;
  const bytes = Buffer.alloc(moov.end - moov.start);
  await mp4.read(bytes, 0, bytes.length, moov.start);
  try {
    return readIndex(bytes, size);
  } catch (error) {
    // Nothing of ours, or cut: something was read that lies behind its end.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function readIndex(moov: Buffer, sizeBytes: number): Mp4Index {
  const tracks = inside(moov, 'trak').map((trak) => {
    const [mdia = EMPTY] = inside(trak, 'mdia');
    const kind = inside(mdia, 'hdlr')[0]?.toString('latin1', 8, 12);
    const clock = inside(mdia, 'mdhd')[0] ?? EMPTY;
    const sizes = ['minf', 'stbl', 'stsz'].reduce((box, type) => inside(box, type)[0] ?? EMPTY, mdia);
    return { kind, sampleCount: sizes.readUInt32BE(8), durationMs: durationOf(clock) };
  });
  return {
    durationMs: durationOf(inside(moov, 'mvhd')[0] ?? EMPTY),
    sizeBytes,
    pictures: tracks.find(({ kind }) => kind === 'vide'),
    sound: tracks.find(({ kind }) => kind === 'soun'),
  };
}

function durationOf(header: Buffer): number {
  const { ticksPerSecond, ticks } = clockOf(header);
  return ticksPerSecond === 0 ? 0 : Math.round((ticks * 1_000) / ticksPerSecond);
}
