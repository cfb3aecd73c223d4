import { mediaFailure } from '@backhaul/jobs/media';
import { z } from 'zod';
import { isDecodable } from './input.ts';

/** What ffprobe is asked for; nothing else is read from it. */
export const PROBE_ENTRIES =
  'format=duration,bit_rate,nb_streams' +
  ':stream=index,codec_type,codec_name,profile,level,pix_fmt,width,height,sample_aspect_ratio,field_order,avg_frame_rate,nb_frames,duration' +
  ',channels,sample_rate,color_range,color_space,color_transfer' +
  ':stream_disposition=attached_pic,default:stream_side_data=rotation,displaymatrix';

/** ffprobe writes numbers as text in some fields and leaves out or writes "N/A" for what it does not know. */
const number = z.coerce.number().optional().catch(undefined);

const text = z.string().default('unknown');

const probeOutput = z.object({
  format: z.object({ duration: number, bit_rate: number, nb_streams: number }).prefault({}),
  streams: z
    .array(
      z.object({
        index: z.number(),
        codec_type: text,
        codec_name: text,
        profile: text,
        level: number,
        pix_fmt: text,
        width: number,
        height: number,
        sample_aspect_ratio: z.string().default('1:1'),
        field_order: text,
        avg_frame_rate: z.string().default('0/0'),
        nb_frames: number,
        duration: number,
        channels: number,
        sample_rate: number,
        color_range: text,
        color_space: text,
        color_transfer: text,
        disposition: z.object({ attached_pic: z.number().default(0), default: z.number().default(0) }).prefault({}),
        side_data_list: z.array(z.object({ rotation: number, displaymatrix: z.string().optional() })).default([]),
      }),
    )
    .default([]),
});

type ProbedStream = z.output<typeof probeOutput>['streams'][number];

/** ffprobe's answer, in its own words: what was not asked for or is not known is not there. */
export type ProbeAnswer = z.input<typeof probeOutput>;

/** The picture of a video, as stored and as displayed. */
export interface VideoStream {
  readonly index: number;
  readonly codec: string;
  readonly profile: string;
  /** Of H.264, times ten: 31 is level 3.1. 0 when not known. */
  readonly level: number;
  readonly pixelFormat: string;
  readonly width: number;
  readonly height: number;
  /** Clockwise degrees that a player turns it by: 0, 90, 180 or 270. */
  readonly rotation: number;
  /** Only turned by quarters: neither mirrored nor slanted, which players do not show alike. */
  readonly plainlyTurned: boolean;
  /** Rotation and pixel shape applied. */
  readonly displayWidth: number;
  readonly displayHeight: number;
  readonly squarePixels: boolean;
  readonly interlaced: boolean;
  /** 0 when not known. */
  readonly fps: number;
  /** As ffmpeg names them; 'unknown' when the file does not say. */
  readonly colorRange: string;
  readonly colorSpace: string;
  readonly colorTransfer: string;
  readonly hdr: boolean;
  readonly durationMs: number | undefined;
}

/** The sound of a video. */
export interface AudioStream {
  readonly index: number;
  readonly codec: string;
  readonly profile: string;
  readonly channels: number;
  readonly sampleRate: number;
}

/** What a file says that it holds. It may lie. */
export interface ProbedMedia {
  readonly durationMs: number | undefined;
  readonly bitRate: number | undefined;
  readonly streamCount: number;
  readonly video: VideoStream | undefined;
  readonly audio: AudioStream | undefined;
  /** Codecs of moving pictures and sounds that cannot be used, because they are of a codec that we do not open, or lack what is needed to. */
  readonly unusable: { readonly video: readonly string[]; readonly audio: readonly string[] };
}

/**
 * Reads ffprobe's JSON. Of several pictures the default one counts, then the
 * longest, never a cover; of several sounds the default one, then the first;
 * never what cannot be decoded, such as the spatial audio of phones.
 *
 * @throws {PermanentFailure} corrupt, when it is no such JSON
 */
export function readProbe(json: string): ProbedMedia {
  return describeAnswer(parseJson(json));
}

/** The same of an answer that is no text. */
export function describeAnswer(answer: unknown): ProbedMedia {
  const parsed = probeOutput.safeParse(answer);
  if (!parsed.success) throw mediaFailure('corrupt', `the file's headers make no sense: ${parsed.error.issues[0]?.message ?? 'unknown'}`);
  const { format, streams } = parsed.data;
  const pictures = streams.filter(({ codec_type, disposition }) => codec_type === 'video' && disposition.attached_pic === 0);
  const sounds = streams.filter(({ codec_type }) => codec_type === 'audio');
  const [picture] = pictures.filter(isUsable).toSorted((a, b) => byDefault(a, b) || (b.nb_frames ?? 0) - (a.nb_frames ?? 0));
  const [sound] = sounds.filter(isUsable).toSorted(byDefault);
  const unusable = (some: readonly ProbedStream[]) => some.filter((stream) => !isUsable(stream)).map(({ codec_name }) => codec_name);
  return {
    durationMs: milliseconds(format.duration),
    bitRate: format.bit_rate,
    streamCount: format.nb_streams ?? streams.length,
    video: picture === undefined ? undefined : describePicture(picture),
    audio: sound === undefined ? undefined : describeSound(sound),
    unusable: { video: unusable(pictures), audio: unusable(sounds) },
  };
}

function isUsable({ codec_name, codec_type, width = 0, height = 0, channels = 0 }: ProbedStream): boolean {
  return isDecodable(codec_name) && (codec_type === 'video' ? width > 0 && height > 0 : channels > 0);
}

function byDefault(a: ProbedStream, b: ProbedStream): number {
  return b.disposition.default - a.disposition.default;
}

function describeSound({ index, codec_name, profile, channels = 0, sample_rate = 0 }: ProbedStream): AudioStream {
  return { index, codec: codec_name, profile, channels, sampleRate: sample_rate };
}

/** `tt`, `bb`, `tb` and `bt` are orders of half pictures. */
const FIELD_ORDERS: ReadonlySet<string> = new Set(['tt', 'bb', 'tb', 'bt']);

function describePicture(stream: ProbedStream): VideoStream {
  const { width = 0, height = 0, color_transfer } = stream;
  const { rotation, plainlyTurned } = turn(stream);
  const shape = pixelShape(stream.sample_aspect_ratio);
  const [shownWidth, shownHeight] = [Math.max(1, Math.round(width * shape)), height];
  const sideways = rotation === 90 || rotation === 270;
  return {
    index: stream.index,
    codec: stream.codec_name,
    profile: stream.profile,
    level: stream.level ?? 0,
    pixelFormat: stream.pix_fmt,
    width,
    height,
    rotation,
    plainlyTurned,
    displayWidth: sideways ? shownHeight : shownWidth,
    displayHeight: sideways ? shownWidth : shownHeight,
    squarePixels: Math.abs(shape - 1) < 0.01,
    interlaced: FIELD_ORDERS.has(stream.field_order),
    fps: rate(stream.avg_frame_rate),
    colorRange: stream.color_range,
    colorSpace: stream.color_space,
    colorTransfer: color_transfer,
    hdr: color_transfer === 'smpte2084' || color_transfer === 'arib-std-b67',
    durationMs: milliseconds(stream.duration),
  };
}

/** ffmpeg turns a picture by quarters, and one that lies within a degree of them; others it slants without a change of size. */
function turn({ side_data_list }: ProbedStream): { rotation: number; plainlyTurned: boolean } {
  const side = side_data_list.find((one) => one.rotation !== undefined);
  if (side?.rotation === undefined) return { rotation: 0, plainlyTurned: true };
  // ffmpeg counts counter-clockwise, in either sign.
  const quarters = Math.round(-side.rotation / 90);
  const slanted = Math.abs(-side.rotation - quarters * 90) > 1;
  const rotation = slanted ? 0 : (((quarters * 90) % 360) + 360) % 360;
  return { rotation, plainlyTurned: !slanted && !isMirrored(side.displaymatrix ?? '') };
}

/** The matrix as ffprobe writes it: three rows such as `00000000:            0       65536           0`. */
function isMirrored(matrix: string): boolean {
  const [a = 1, b = 0, , c = 0, d = 1] = matrix
    .split('\n')
    .flatMap((row) =>
      row
        .replace(/^\s*\d+:/, '')
        .trim()
        .split(/\s+/),
    )
    .filter(Boolean)
    .map(Number);
  return a * d - b * c < 0;
}

/** Width of a pixel by its height. No camera has pixels of more than 4 to 1: such a number is damage, or made to blow a picture up. */
function pixelShape(ratio: string): number {
  const [across = 1, down = 1] = ratio.split(':').map(Number);
  const shape = across / down;
  return shape >= 0.25 && shape <= 4 ? shape : 1;
}

function rate(fraction: string): number {
  const [frames = 0, seconds = 0] = fraction.split('/').map(Number);
  const fps = frames / seconds;
  return Number.isFinite(fps) ? Math.round(fps * 1_000) / 1_000 : 0;
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined || !(seconds > 0) ? undefined : Math.round(seconds * 1_000);
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
