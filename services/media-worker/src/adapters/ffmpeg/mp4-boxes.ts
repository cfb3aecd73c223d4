import type { FileHandle } from 'node:fs/promises';

/** A box of ISO/IEC 14496-12, 4.2: what it is, and where in its surroundings its content lies. */
export interface Box {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/** The first `most` boxes that lie side by side in a file, as far as they fit into it. */
export async function topBoxes(mp4: FileHandle, sizeBytes: number, most: number): Promise<Box[]> {
  const boxes: Box[] = [];
  const header = Buffer.alloc(16);
  for (let at = 0; at < sizeBytes && boxes.length < most;) {
    await mp4.read(header, 0, 16, at);
    const box = boxAt(header, 0, sizeBytes - at);
    if (box === undefined) break;
    boxes.push({ type: box.type, start: at + box.start, end: at + box.end });
    at += box.end;
  }
  return boxes;
}

/** No file has more boxes in one other; a hostile one has a million, each of which would become an object. */
const MAX_SIBLINGS = 1_024;

/** The boxes that lie directly in another, as far as they fit into it. */
export function boxesIn(parent: Buffer): Box[] {
  const boxes: Box[] = [];
  for (let at = 0; at < parent.length && boxes.length < MAX_SIBLINGS;) {
    const box = boxAt(parent, at, parent.length - at);
    if (box === undefined) break;
    boxes.push({ type: box.type, start: at + box.start, end: at + box.end });
    at += box.end;
  }
  return boxes;
}

/** The contents of all boxes of a type that lie directly in another. */
export function inside(parent: Buffer, type: string): Buffer[] {
  return boxesIn(parent)
    .filter((box) => box.type === type)
    .map(({ start, end }) => parent.subarray(start, end));
}

/**
 * The clock of `mvhd` or `mdhd`, which begin alike (8.2.2, 8.4.2): version, two dates, ticks a second, ticks; the second version has wider numbers.
 * @throws {RangeError} it is cut
 */
export function clockOf(header: Buffer): { readonly ticksPerSecond: number; readonly ticks: number } {
  return header.readUInt8(0) === 1
    ? { ticksPerSecond: header.readUInt32BE(20), ticks: Number(header.readBigUInt64BE(24)) }
    : { ticksPerSecond: header.readUInt32BE(12), ticks: header.readUInt32BE(16) };
}

/** A box by its header; start and end of its content count from its own beginning. undefined when it does not fit. */
function boxAt(bytes: Buffer, offset: number, room: number): Box | undefined {
  if (room < 8) return undefined;
  const short = bytes.readUInt32BE(offset);
  const start = short === 1 ? 16 : 8;
  const end = short === 1 && room >= 16 ? Number(bytes.readBigUInt64BE(offset + 8)) : short;
  return end < start || end > room ? undefined : { type: bytes.toString('latin1', offset + 4, offset + 8), start, end };
}
