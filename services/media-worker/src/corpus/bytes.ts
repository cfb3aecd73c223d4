/** What hand-made files are put together from: seeded noise, boxes of MP4, elements of Matroska, chunks of PNG, segments of JPEG. */
import { crc32 } from 'node:zlib';

/** Numbers from 0 to 2^32 - 1 that look random and are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Bytes that look random and are the same for the same seed. */
export function noise(length: number, seed = 1): Buffer {
  const random = seededRandom(seed);
  return Buffer.from(Array.from({ length }, () => random() & 0xff));
}

export function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function u16(value: number): Buffer {
  return Buffer.from([(value >>> 8) & 0xff, value & 0xff]);
}

/** As `u16` and `u32`, least byte first. */
export function le16(value: number): Buffer {
  return u16(value).reverse();
}
export function le32(value: number): Buffer {
  return u32(value).reverse();
}

/** The first `part` of the bytes. */
export function cut(bytes: Buffer, part: number): Buffer {
  return bytes.subarray(0, Math.floor(bytes.length * part));
}

/** A copy with other bytes at a place. */
export function patch(bytes: Buffer, at: number, replacement: Buffer): Buffer {
  if (at < 0) throw new Error('the place to patch was not found');
  const copy = Buffer.from(bytes);
  replacement.copy(copy, at);
  return copy;
}

/** A box of MP4: size, type, content. */
export function box(type: string, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([u32(body.length + 8), ascii(type), body]);
}

/** An MP4 whose box at the end of `path` has another content; the sizes around it follow. For files with their index at the end. */
export function editBox(bytes: Buffer, path: readonly string[], edit: (content: Buffer) => Buffer): Buffer {
  const [type, ...rest] = path;
  const boxes: Buffer[] = [];
  let found = false;
  for (let at = 0; at + 8 <= bytes.length;) {
    const size = bytes.readUInt32BE(at);
    const own = bytes.subarray(at, at + size);
    if (size < 8 || own.length < size) throw new Error(`no box of MP4 at ${at}`);
    const isIt = !found && own.toString('latin1', 4, 8) === type;
    if (isIt) {
      found = true;
      const content = own.subarray(8);
      boxes.push(box(type, rest.length === 0 ? edit(content) : editBox(content, rest, edit)));
    } else {
      boxes.push(own);
    }
    at += size;
  }
  if (!found) throw new Error(`the file has no box ${path.join('/')}`);
  return Buffer.concat(boxes);
}

/** An element of Matroska; its size is written in eight bytes, or as `size` says. */
export function ebml(id: number, content: Buffer, size?: Buffer): Buffer {
  const hex = id.toString(16);
  const length = Buffer.concat([Buffer.from([1, 0, 0, 0]), u32(content.length)]);
  return Buffer.concat([Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'), size ?? length, content]);
}

/** The header that makes a file Matroska or WebM. */
export function ebmlHeader(docType: 'webm' | 'matroska'): Buffer {
  return ebml(
    0x1a45dfa3,
    Buffer.concat([ebml(0x4286, Buffer.from([1])), ebml(0x4282, ascii(docType)), ebml(0x4287, Buffer.from([4])), ebml(0x4285, Buffer.from([2]))]),
  );
}

/** A chunk of PNG. */
export function pngChunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([ascii(type), content]);
  return Buffer.concat([u32(content.length), body, u32(crc32(body))]);
}

/** A PNG of these chunks, header first. */
export function png(header: { width: number; height: number; bits?: number; colour?: number }, ...chunks: Buffer[]): Buffer {
  const { width, height, bits = 8, colour = 2 } = header;
  const ihdr = pngChunk('IHDR', Buffer.concat([u32(width), u32(height), Buffer.from([bits, colour, 0, 0, 0])]));
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), ihdr, ...chunks, pngChunk('IEND', Buffer.alloc(0))]);
}

/** A PNG with more chunks behind its header. */
export function withPngChunks(bytes: Buffer, ...chunks: Buffer[]): Buffer {
  return Buffer.concat([bytes.subarray(0, 33), ...chunks, bytes.subarray(33)]);
}

/** A JPEG with a segment more behind its first marker. */
export function withSegment(jpeg: Buffer, marker: number, content: Buffer): Buffer {
  return Buffer.concat([jpeg.subarray(0, 2), Buffer.from([0xff, marker]), u16(content.length + 2), content, jpeg.subarray(2)]);
}

/** Where the frame header of a JPEG lies: its height and width follow five bytes behind. */
export function frameHeaderAt(jpeg: Buffer): number {
  for (let at = 2; at + 4 < jpeg.length; at += 2 + jpeg.readUInt16BE(at + 2)) {
    const marker = jpeg[at + 1] ?? 0;
    if (marker >= 0xc0 && marker <= 0xc2) return at;
  }
  throw new Error('no frame header in this JPEG');
}

/** A tag in front of a sound: frames of ID3v2.3. `claimedSize` is what the tag says, if not the truth. */
export function id3(frames: readonly { id: string; content: Buffer; flags?: number }[], claimedSize?: number): Buffer {
  const body = Buffer.concat(frames.map(({ id, content, flags = 0 }) => Buffer.concat([ascii(id), u32(content.length), u16(flags), content])));
  const size = claimedSize ?? body.length;
  const syncsafe = Buffer.from([21, 14, 7, 0].map((shift) => (size >>> shift) & 0x7f));
  return Buffer.concat([ascii('ID3'), Buffer.from([3, 0, 0]), syncsafe, body]);
}

/** A WAV; `claimed` are header fields that say something else than the truth. */
export function wav(
  samples: Buffer,
  claimed: { format?: number; channels?: number; rate?: number; blockAlign?: number; bits?: number; dataSize?: number; riffSize?: number } = {},
): Buffer {
  const {
    format = 1,
    channels = 1,
    rate = 16_000,
    bits = 16,
    blockAlign = (channels * bits) / 8,
    dataSize = samples.length,
    riffSize = dataSize + 36,
  } = claimed;
  const fmt = [le16(format), le16(channels), le32(rate), le32(rate * blockAlign), le16(blockAlign), le16(bits)];
  return Buffer.concat([ascii('RIFF'), le32(riffSize), ascii('WAVEfmt '), le32(16), ...fmt, ascii('data'), le32(dataSize), samples]);
}
