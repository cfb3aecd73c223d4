import { type BitReader, bitReader } from './bit-reader.ts';
import { must, unlessNotPlain } from './plain.ts';

/** What the parameter sets of a plain H.264 video say: progressive, 8 bit, 4:2:0, ordinary brightness. Names are ffmpeg's. */
export interface H264Parameters {
  readonly profile: string;
  readonly level: number;
  readonly width: number;
  readonly height: number;
  /** Width of a pixel by its height, such as `4:3`; undefined when it is not said. */
  readonly pixelShape: string | undefined;
  /** undefined when it is not said. */
  readonly color: Partial<H264Color>;
  /** Bytes of the number in front of each unit. */
  readonly lengthBytes: number;
  /** Of the picture parameter sets. */
  readonly pictureSets: ReadonlySet<number>;
}

/** How numbers become colours. */
export interface H264Color {
  readonly range: 'tv' | 'pc';
  readonly space: string;
  readonly transfer: string;
}

/** A unit of a coded video: ISO/IEC 14496-10, table 7-1. */
const UNIT = { idr: 5, sei: 6, sequence: 7, picture: 8, delimiter: 9 } as const;

/** `profile_idc` of what phones and browsers make: 14496-10, annex A.2. */
const PROFILES: Readonly<Record<number, string>> = { 66: 'Baseline', 77: 'Main', 100: 'High' };

/** Table E-1, without the rare ones. */
const PIXEL_SHAPES: Readonly<Record<number, string | undefined>> = {
  ...{ 0: undefined, 1: '1:1', 2: '12:11', 3: '10:11', 4: '16:11', 5: '40:33', 6: '24:11', 7: '20:11', 8: '32:11' },
  ...{ 9: '80:33', 10: '18:11', 11: '15:11', 12: '64:33', 13: '160:99', 14: '4:3', 15: '3:2', 16: '2:1' },
};
const OWN_PIXEL_SHAPE = 255;

/** Tables E-4 and E-5, by the names of ffmpeg. What is not in them may be HDR, or mean something else to another ffmpeg. */
const TRANSFERS: Readonly<Record<number, string>> = { 1: 'bt709', 2: 'unknown', 4: 'bt470m', 5: 'bt470bg', 6: 'smpte170m', 13: 'iec61966-2-1' };
const SPACES: Readonly<Record<number, string>> = { 1: 'bt709', 2: 'unknown', 5: 'bt470bg', 6: 'smpte170m' };

/** Larger pictures are not plain; ffprobe has limits of its own for them. */
const MAX_SIDE = 8_192;

/** Where ffmpeg's short codes end: it reads a longer one wrong instead of refusing it. */
const MAX_SHORT_CODE = 30;

/**
 * Reads `avcC` (ISO/IEC 14496-15, 5.3.3.1). undefined when anything is not
 * plain: several sequences, half pictures, more than 8 bits, other colour
 * sampling, HDR.
 */
export function readAvcConfiguration(avcC: Buffer): H264Parameters | undefined {
  return unlessNotPlain(() => {
    must(avcC.readUInt8(0) === 1);
    const lengthBytes = (avcC.readUInt8(4) & 3) + 1;
    must(lengthBytes !== 3 && (avcC.readUInt8(5) & 31) === 1);
    const sequence = unitAt(avcC, 6);
    const parameters = readSequence(sequence);
    let at = 8 + sequence.length;
    const pictureSets = new Set<number>();
    const count = avcC.readUInt8(at++);
    must(count > 0);
    for (let index = 0; index < count; index++) {
      const picture = unitAt(avcC, at);
      pictureSets.add(readPicture(picture, parameters.sequenceId));
      at += 2 + picture.length;
    }
    return { ...parameters, lengthBytes, pictureSets };
  });
}

/** Names of the transfer and the space of `colour description`, or of a container's `colr`. */
export function nameColors(transfer: number, space: number): Pick<H264Color, 'transfer' | 'space'> {
  const [transferName, spaceName] = [TRANSFERS[transfer], SPACES[space]];
  must(transferName !== undefined && spaceName !== undefined);
  return { transfer: transferName, space: spaceName };
}

/**
 * Whether a video begins with a picture that stands alone and is of the
 * parameter sets that were read. `head` is the beginning of its first sample.
 * A wrong place of the samples in the file is found out here.
 */
export function beginsPlainly(head: Buffer, sampleBytes: number, { lengthBytes, pictureSets }: H264Parameters): boolean {
  const plain = unlessNotPlain(() => {
    for (let at = 0; ;) {
      const start = at + lengthBytes;
      const end = start + head.readUIntBE(at, lengthBytes);
      must(end > start && end <= sampleBytes);
      const type = typeOf(head.readUInt8(start));
      if (type === UNIT.idr) return beginsPicture(head.subarray(start, end), pictureSets);
      // A second sequence in front of the pictures would count, not that of the index.
      must(type === UNIT.delimiter || (type === UNIT.sei && !saysOtherTransfer(head.subarray(start, end))));
      at = end;
    }
  });
  return plain ?? false;
}

function unitAt(avcC: Buffer, at: number): Buffer {
  const end = at + 2 + avcC.readUInt16BE(at);
  must(end <= avcC.length);
  return avcC.subarray(at + 2, end);
}

/** The bit in front is never set: 14496-10, 7.4.1. */
function typeOf(header: number): number {
  must((header & 0x80) === 0);
  return header & 31;
}

/** Behind a unit's header, without the bytes that keep start codes out of it (7.3.1) and without the mark of its end (7.3.2.11). */
function payload(unit: Buffer): BitReader {
  const bytes: number[] = [];
  let zeros = 0;
  for (const byte of unit.subarray(1)) {
    if (zeros < 2 || byte !== 3) bytes.push(byte);
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  while (bytes.at(-1) === 0) bytes.pop();
  const last = bytes.at(-1);
  must(last !== undefined);
  const tail = 32 - Math.clz32(last & -last);
  return bitReader(Uint8Array.from(bytes), bytes.length * 8 - tail);
}

function shortCode(bits: BitReader): number {
  const code = bits.unsigned();
  must(code <= MAX_SHORT_CODE);
  return code;
}

/** A sequence parameter set: 14496-10, 7.3.2.1.1. Read to its last bit: one that has fallen over shifts all behind it. */
function readSequence(unit: Buffer): Omit<H264Parameters, 'lengthBytes' | 'pictureSets'> & { readonly sequenceId: number } {
  must(typeOf(unit.readUInt8(0)) === UNIT.sequence);
  const bits = payload(unit);
  const profileIdc = bits.bits(8);
  const constraints = bits.bits(8);
  const level = bits.bits(8);
  const sequenceId = shortCode(bits);
  const profile = profileIdc === 66 && (constraints & 0x40) !== 0 ? 'Constrained Baseline' : PROFILES[profileIdc];
  must(profile !== undefined);
  if (profileIdc === 100) {
    const chromaFormat = shortCode(bits);
    const [lumaBits, chromaBits] = [shortCode(bits) + 8, shortCode(bits) + 8];
    const lossless = bits.flag();
    must(chromaFormat === 1 && lumaBits === 8 && chromaBits === 8 && !lossless);
    if (bits.flag()) skipScalingLists(bits, 8);
  }
  must(shortCode(bits) <= 12); // log2_max_frame_num_minus4
  const orderType = shortCode(bits);
  // With the other kind the two halves of a picture may have times of their own, and ffmpeg calls it interlaced.
  must(orderType === 0 || orderType === 2);
  if (orderType === 0) must(shortCode(bits) <= 12);
  must(shortCode(bits) <= 16); // max_num_ref_frames
  bits.skip(1);
  const [codedWidth, codedHeight] = [16 * (bits.unsigned() + 1), 16 * (bits.unsigned() + 1)];
  must(codedWidth <= MAX_SIDE && codedHeight <= MAX_SIDE);
  must(bits.flag()); // frame_mbs_only_flag
  bits.skip(1);
  const [left, right, top, bottom] = bits.flag() ? [bits.unsigned(), bits.unsigned(), bits.unsigned(), bits.unsigned()] : [0, 0, 0, 0];
  // In steps of the colour's samples: 7.4.2.1.1.
  const [width, height] = [codedWidth - 2 * (left + right), codedHeight - 2 * (top + bottom)];
  must(width > 0 && height > 0);
  const described = bits.flag() ? readUsability(bits) : { pixelShape: undefined, color: {} };
  must(bits.left() === 0);
  return { sequenceId, profile, level, width, height, ...described };
}

/** Video usability information: annex E.1.1. */
function readUsability(bits: BitReader): Pick<H264Parameters, 'pixelShape' | 'color'> {
  const pixelShape = bits.flag() ? readPixelShape(bits) : undefined;
  if (bits.flag()) bits.skip(1); // overscan
  const color = bits.flag() ? readColor(bits) : {};
  if (bits.flag()) must(Math.max(shortCode(bits), shortCode(bits)) <= 5); // where the colour's samples lie
  if (bits.flag()) bits.skip(65); // num_units_in_tick, time_scale, fixed_frame_rate_flag
  const hasBuffer = [bits.flag() && skipBuffer(bits), bits.flag() && skipBuffer(bits)].includes(true);
  if (hasBuffer) bits.skip(1);
  // Then each picture may say that it is two halves.
  must(!bits.flag()); // pic_struct_present_flag
  if (bits.flag()) {
    bits.skip(1);
    for (let field = 0; field < 6; field++) must(shortCode(bits) <= 16);
  }
  return { pixelShape, color };
}

function readPixelShape(bits: BitReader): string | undefined {
  const kind = bits.bits(8);
  if (kind !== OWN_PIXEL_SHAPE) {
    must(kind in PIXEL_SHAPES);
    return PIXEL_SHAPES[kind];
  }
  const [across, down] = [bits.bits(16), bits.bits(16)];
  must(across > 0 && down > 0);
  return `${across}:${down}`;
}

function readColor(bits: BitReader): Partial<H264Color> {
  bits.skip(3);
  const range = bits.flag() ? 'pc' : 'tv';
  if (!bits.flag()) return { range };
  bits.skip(8);
  return { range, ...nameColors(bits.bits(8), bits.bits(8)) };
}

/** Parameters of a decoder's buffer: E.1.2. */
function skipBuffer(bits: BitReader): true {
  const count = shortCode(bits) + 1;
  bits.skip(8);
  for (let index = 0; index < count; index++) {
    bits.unsigned();
    bits.unsigned();
    bits.skip(1);
  }
  bits.skip(20);
  return true;
}

/** 7.3.2.1.1.1: the first six have 16 numbers, the others 64. */
function skipScalingLists(bits: BitReader, lists: number): void {
  for (let list = 0; list < lists; list++) {
    if (!bits.flag()) continue;
    let [last, next] = [8, 8];
    for (let index = 0; index < (list < 6 ? 16 : 64) && next !== 0; index++) {
      const delta = bits.signed();
      must(delta >= -128 && delta <= 127);
      next = (last + delta) & 0xff;
      last = next === 0 ? last : next;
    }
  }
}

/** The number of a picture parameter set (7.3.2.2), which has to be one that ffmpeg can decode: it tells nothing of a video before its first picture. */
function readPicture(unit: Buffer, sequenceId: number): number {
  must(typeOf(unit.readUInt8(0)) === UNIT.picture);
  const bits = payload(unit);
  const id = bits.unsigned();
  must(id < 256 && bits.unsigned() === sequenceId);
  bits.skip(1);
  // Then the halves of a picture may have times of their own.
  must(!bits.flag()); // bottom_field_pic_order_in_frame_present_flag
  must(bits.unsigned() === 0); // slice groups
  must(bits.unsigned() < 32 && bits.unsigned() < 32);
  bits.skip(1);
  must(bits.bits(2) < 3); // weighted_bipred_idc
  must(isQuality(bits.signed()) && isQuality(bits.signed()) && isQualityOffset(bits.signed()));
  bits.skip(3);
  if (bits.left() > 0) {
    const largeTransform = bits.flag();
    if (bits.flag()) skipScalingLists(bits, largeTransform ? 8 : 6);
    must(isQualityOffset(bits.signed()));
  }
  must(bits.left() === 0);
  return id;
}

function isQuality(qp: number): boolean {
  return qp >= -26 && qp <= 25;
}

function isQualityOffset(offset: number): boolean {
  return offset >= -12 && offset <= 12;
}

/** A slice's header: 7.3.3. */
function beginsPicture(slice: Buffer, pictureSets: ReadonlySet<number>): boolean {
  // The numbers that are read take a few bytes; a slice may have megabytes.
  const bits = bitReader(slice.subarray(1, 16));
  const [firstBlock, sliceType, pictureSet] = [bits.unsigned(), bits.unsigned(), bits.unsigned()];
  return firstBlock === 0 && sliceType % 5 === 2 && sliceType < 10 && pictureSets.has(pictureSet);
}

/** `payloadType` of a message that names another transfer than the sequence does (D.1.32): broadcasters mark HDR so. */
const ALTERNATIVE_TRANSFER = 147;

/** Supplemental enhancement information: 7.3.2.3.1. */
function saysOtherTransfer(unit: Buffer): boolean {
  const bits = payload(unit);
  const number = () => {
    let value = 0;
    for (let byte = 255; byte === 255; value += byte) byte = bits.bits(8);
    return value;
  };
  while (bits.left() > 0) {
    if (number() === ALTERNATIVE_TRANSFER) return true;
    bits.skip(8 * number());
  }
  return false;
}
