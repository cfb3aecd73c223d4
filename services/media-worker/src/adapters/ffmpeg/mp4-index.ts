import { type FileHandle, open } from 'node:fs/promises';

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

interface Box {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

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
  const boxes = await topBoxes(mp4, size);
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

async function topBoxes(mp4: FileHandle, size: number): Promise<Box[]> {
  const boxes: Box[] = [];
  const header = Buffer.alloc(16);
  for (let start = 0; start < size && boxes.length < MAX_BOXES;) {
    await mp4.read(header, 0, 16, start);
    const box = boxAt(header, 0, size - start);
    if (box === undefined) break;
    boxes.push({ type: box.type, start: start + box.start, end: start + box.end });
    start += box.end;
  }
  return boxes;
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

/** `mvhd` and `mdhd` begin alike: version, two dates, ticks a second, ticks; the second version has wider numbers. */
function durationOf(header: Buffer): number {
  const [rate, ticks] =
    header.readUInt8(0) === 1 ? [header.readUInt32BE(20), Number(header.readBigUInt64BE(24))] : [header.readUInt32BE(12), header.readUInt32BE(16)];
  return rate === 0 ? 0 : Math.round((ticks * 1_000) / rate);
}

/** The contents of all boxes of a type that lie directly in another. */
function inside(parent: Buffer, type: string): Buffer[] {
  const found: Buffer[] = [];
  for (let offset = 0; offset + 8 <= parent.length;) {
    const box = boxAt(parent, offset, parent.length - offset);
    if (box === undefined) break;
    if (box.type === type) found.push(parent.subarray(offset + box.start, offset + box.end));
    offset += box.end;
  }
  return found;
}

/** A box by its header; start and end of its content count from its own beginning. undefined when it does not fit. */
function boxAt(bytes: Buffer, offset: number, room: number): Box | undefined {
  if (room < 8) return undefined;
  const short = bytes.readUInt32BE(offset);
  const start = short === 1 ? 16 : 8;
  const end = short === 1 && room >= 16 ? Number(bytes.readBigUInt64BE(offset + 8)) : short;
  return end < start || end > room ? undefined : { type: bytes.toString('latin1', offset + 4, offset + 8), start, end };
}
