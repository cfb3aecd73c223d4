import { type AacParameters, beginsWithChannels, readAacConfig } from './aac-config.ts';
import { type H264Parameters, beginsPlainly, nameColors, readAvcConfiguration } from './h264-parameters.ts';
import { boxesIn } from './mp4-boxes.ts';
import { FILLING, contentsOf, need } from './mp4-contents.ts';
import type { Samples } from './mp4-tables.ts';
import { type Length, secondsOf } from './mp4-times.ts';
import { must } from './plain.ts';
import type { ProbeAnswer } from './probe.ts';

/** A track in ffprobe's words, and what its samples have to begin with for them to be true. */
export interface Description {
  readonly kind: 'video' | 'audio' | 'data';
  readonly stream: NonNullable<ProbeAnswer['streams']>[number];
  /** `head` is the beginning of the first sample. */
  begins(head: Buffer): boolean;
}

/** How a picture lies: ISO/IEC 14496-12, 8.3.2. */
export interface Placement {
  readonly rotation: number;
  readonly width: number;
  readonly height: number;
}

/** An entry of `stsd`. */
export interface Entry {
  readonly type: string;
  readonly content: Buffer;
}

/** The one entry of `stsd`: 8.5.2. */
export function readEntry(stsd: Buffer): Entry {
  must(stsd.readUInt32BE(0) === 0 && stsd.readUInt32BE(4) === 1);
  const entries = boxesIn(stsd.subarray(8));
  const [entry] = entries;
  must(entry !== undefined && entries.length === 1 && entry.end === stsd.length - 8);
  const content = stsd.subarray(8 + entry.start, 8 + entry.end);
  must(content.readUInt16BE(6) === 1); // data_reference_index
  return { type: entry.type, content };
}

/** `avc1`: 14496-15, 5.4.2; its fields are those of `VisualSampleEntry`, 14496-12, 12.1.3. */
export function describeVideo(index: number, { type, content }: Entry, placement: Placement, samples: Samples, length: Length): Description {
  must(type === 'avc1');
  const boxes = contentsOf(content.subarray(78), ['avcC', 'colr', 'pasp', 'fiel'], ['btrt', 'chrm', ...FILLING]);
  const h264 = readAvcConfiguration(need(boxes, 'avcC'));
  must(h264 !== undefined);
  const { width, height } = h264;
  must(content.readUInt16BE(24) === width && content.readUInt16BE(26) === height);
  // Palettes go with fewer bits.
  must(content.readUInt16BE(74) === 24);
  // One field: not interlaced.
  must(!boxes.has('fiel') || need(boxes, 'fiel').readUInt16BE(0) === 0x0100);
  const color = { ...readColor(boxes.get('colr')), ...h264.color };
  return {
    kind: 'video',
    stream: {
      index,
      codec_type: 'video',
      codec_name: 'h264',
      profile: h264.profile,
      level: h264.level,
      pix_fmt: color.range === 'pc' ? 'yuvj420p' : 'yuv420p',
      width,
      height,
      sample_aspect_ratio: pixelShapeOf(boxes.get('pasp'), placement, h264),
      field_order: 'progressive',
      avg_frame_rate: frameRate(samples, length.ticksPerSecond),
      nb_frames: samples.count,
      duration: secondsOf(length),
      color_range: color.range,
      color_space: color.space,
      color_transfer: color.transfer,
      // ffmpeg counts counter-clockwise.
      side_data_list: [{ rotation: -placement.rotation }],
    },
    begins: (head) => beginsPlainly(head, samples.first.sizeBytes, h264),
  };
}

/** ffmpeg's fractions hold 31 bits; beyond that it rounds. */
const MAX_FRACTION = 2 ** 31 - 1;

function frameRate({ count, ticks }: Samples, ticksPerSecond: number): string {
  const divisor = greatestCommonDivisor(count * ticksPerSecond, ticks);
  must((count * ticksPerSecond) / divisor <= MAX_FRACTION && ticks / divisor <= MAX_FRACTION);
  return `${count * ticksPerSecond}/${ticks}`;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** The container's word counts more than the sequence's. */
function pixelShapeOf(pasp: Buffer | undefined, placement: Placement, { width, height, pixelShape }: H264Parameters): string | undefined {
  if (pasp === undefined) {
    // ffmpeg would make a shape of the difference.
    must(placement.width === 0 || placement.height === 0 || (placement.width === width && placement.height === height));
    return pixelShape;
  }
  const [across, down] = [pasp.readUInt32BE(0), pasp.readUInt32BE(4)];
  // ffmpeg rounds larger numbers.
  must(pasp.length === 8 && across > 0 && across < 32_768 && down > 0 && down < 32_768);
  return `${across}:${down}`;
}

/** `colr`: 12.1.5. QuickTime's own kind has no range. */
function readColor(colr: Buffer | undefined): H264Parameters['color'] {
  if (colr === undefined) return {};
  const type = colr.toString('latin1', 0, 4);
  const names = nameColors(colr.readUInt16BE(6), colr.readUInt16BE(8));
  must((type === 'nclx' && colr.length === 11) || (type === 'nclc' && colr.length === 10));
  return type === 'nclc' ? names : { ...names, range: colr.readUInt8(10) >= 128 ? 'pc' : 'tv' };
}

/** `mp4a`: 14496-14, 5.6; its fields are those of `AudioSampleEntry`, 14496-12, 12.2.3, or QuickTime's, which are longer. */
export function describeAudio(index: number, { type, content }: Entry): Description {
  const version = content.readUInt16BE(8);
  must(type === 'mp4a' && version <= 1);
  const boxes = contentsOf(content.subarray(version === 1 ? 44 : 28), ['esds', 'wave'], ['btrt', 'chan', ...FILLING]);
  must(boxes.size === 1);
  const wave = boxes.get('wave');
  const aac = readStreamDescription(wave === undefined ? need(boxes, 'esds') : descriptionInWave(wave));
  const { channels, sampleRate } = aac;
  return {
    kind: 'audio',
    stream: { index, codec_type: 'audio', codec_name: 'aac', profile: 'LC', channels, sample_rate: sampleRate },
    begins: (head) => beginsWithChannels(head, channels),
  };
}

/** What phones write about each moment: a stream of which ffmpeg knows nothing. */
export function describeData(index: number, { type }: Entry): Description {
  must(type === 'mebx');
  return { kind: 'data', stream: { index, codec_type: 'data' }, begins: () => true };
}

/** QuickTime wraps it once more, and ends the list with a box of type zero. */
function descriptionInWave(wave: Buffer): Buffer {
  const boxes = contentsOf(wave, ['frma', 'mp4a', 'esds', '\0\0\0\0']);
  must(need(boxes, 'frma').toString('latin1') === 'mp4a');
  return need(boxes, 'esds');
}

/** ISO/IEC 14496-1, 7.2.2.1. */
const TAG = { stream: 3, decoder: 4, specific: 5 } as const;

/** `objectTypeIndication` of MPEG-4's AAC: table 5. */
const MPEG4_AUDIO = 0x40;

/** `esds`: descriptors in each other (14496-1, 7.2.6.5 and 7.2.6.6), the inmost of which is AAC's own. */
function readStreamDescription(esds: Buffer): AacParameters {
  must(esds.readUInt32BE(0) === 0);
  const stream = descriptor(esds.subarray(4), TAG.stream);
  must((stream.readUInt8(2) & 0xe0) === 0);
  const decoder = descriptor(stream.subarray(3), TAG.decoder);
  must(decoder.readUInt8(0) === MPEG4_AUDIO);
  const aac = readAacConfig(descriptor(decoder.subarray(13), TAG.specific));
  must(aac !== undefined);
  return aac;
}

/** The content of a descriptor: its size comes in groups of seven bits (14496-1, 8.3.3). */
function descriptor(bytes: Buffer, tag: number): Buffer {
  must(bytes.readUInt8(0) === tag);
  let [at, size] = [1, 0];
  for (let more = true; more; at++) {
    must(at <= 4);
    size = size * 128 + (bytes.readUInt8(at) & 127);
    more = bytes.readUInt8(at) >= 128;
  }
  must(size > 0 && at + size <= bytes.length);
  return bytes.subarray(at, at + size);
}
