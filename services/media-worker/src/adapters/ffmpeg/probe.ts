import { PermanentFailure } from '@backhaul/queue/job';
import { z } from 'zod';

/** What ffprobe is asked for; nothing else is read from it. */
export const PROBE_ENTRIES =
  'format=duration,bit_rate,nb_streams' +
  ':stream=index,codec_type,codec_name,profile,pix_fmt,width,height,sample_aspect_ratio,avg_frame_rate,bit_rate,channels,sample_rate,color_transfer' +
  ':stream_disposition=attached_pic,default:stream_side_data=rotation';

/** ffprobe writes numbers as text in some fields and leaves out or writes "N/A" for what it does not know. */
const number = z.coerce.number().optional().catch(undefined);

const probeOutput = z.object({
  format: z.object({ duration: number, bit_rate: number, nb_streams: number }).prefault({}),
  streams: z
    .array(
      z.object({
        index: z.number(),
        codec_type: z.string().default('unknown'),
        codec_name: z.string().default('unknown'),
        profile: z.string().default('unknown'),
        pix_fmt: z.string().default('unknown'),
        width: number,
        height: number,
        sample_aspect_ratio: z.string().default('1:1'),
        avg_frame_rate: z.string().default('0/0'),
        bit_rate: number,
        channels: number,
        sample_rate: number,
        color_transfer: z.string().default('unknown'),
        disposition: z.object({ attached_pic: z.number().default(0), default: z.number().default(0) }).prefault({}),
        side_data_list: z.array(z.object({ rotation: number })).default([]),
      }),
    )
    .default([]),
});

/** The picture of a video, as stored and as displayed. */
export interface VideoStream {
  readonly index: number;
  readonly codec: string;
  readonly profile: string;
  readonly pixelFormat: string;
  readonly width: number;
  readonly height: number;
  /** Clockwise degrees that a player turns it by: 0, 90, 180 or 270. */
  readonly rotation: number;
  /** Rotation and pixel shape applied. */
  readonly displayWidth: number;
  readonly displayHeight: number;
  readonly squarePixels: boolean;
  /** 0 when not known. */
  readonly fps: number;
  readonly hdr: boolean;
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
}

/**
 * Reads ffprobe's JSON. Of several pictures the default one counts, never a
 * cover; of several sounds the first that can be decoded, never spatial audio.
 *
 * @throws {PermanentFailure} corrupt, when it is no such JSON
 */
export function readProbe(json: string): ProbedMedia {
  const parsed = probeOutput.safeParse(parseJson(json));
  if (!parsed.success) throw new PermanentFailure('corrupt', `the file's headers make no sense: ${parsed.error.issues[0]?.message ?? 'unknown'}`);
  const { format, streams } = parsed.data;
  const pictures = streams.filter(
    ({ codec_type, codec_name, disposition, width = 0, height = 0 }) =>
      codec_type === 'video' && codec_name !== 'unknown' && disposition.attached_pic === 0 && width > 0 && height > 0,
  );
  const picture = pictures.find(({ disposition }) => disposition.default === 1) ?? pictures[0];
  const sound = streams.find(({ codec_type, codec_name, channels = 0 }) => codec_type === 'audio' && codec_name !== 'unknown' && channels > 0);
  return {
    durationMs: format.duration === undefined || format.duration <= 0 ? undefined : Math.round(format.duration * 1_000),
    bitRate: format.bit_rate,
    streamCount: format.nb_streams ?? streams.length,
    video: picture === undefined ? undefined : describePicture(picture),
    audio:
      sound === undefined
        ? undefined
        : { index: sound.index, codec: sound.codec_name, profile: sound.profile, channels: sound.channels ?? 0, sampleRate: sound.sample_rate ?? 0 },
  };
}

function describePicture(stream: z.output<typeof probeOutput>['streams'][number]): VideoStream {
  const { width = 0, height = 0 } = stream;
  // ffmpeg counts counter-clockwise, in either sign.
  const turn = stream.side_data_list.find(({ rotation }) => rotation !== undefined)?.rotation ?? 0;
  const rotation = (((Math.round(-turn / 90) * 90) % 360) + 360) % 360;
  const [across = 1, down = 1] = stream.sample_aspect_ratio.split(':').map(Number);
  const shape = across > 0 && down > 0 ? across / down : 1;
  const [shownWidth, shownHeight] = [Math.max(1, Math.round(width * shape)), height];
  const sideways = rotation === 90 || rotation === 270;
  return {
    index: stream.index,
    codec: stream.codec_name,
    profile: stream.profile,
    pixelFormat: stream.pix_fmt,
    width,
    height,
    rotation,
    displayWidth: sideways ? shownHeight : shownWidth,
    displayHeight: sideways ? shownWidth : shownHeight,
    squarePixels: Math.abs(shape - 1) < 0.01,
    fps: rate(stream.avg_frame_rate),
    hdr: stream.color_transfer === 'smpte2084' || stream.color_transfer === 'arib-std-b67',
  };
}

function rate(fraction: string): number {
  const [frames = 0, seconds = 0] = fraction.split('/').map(Number);
  const fps = frames / seconds;
  return Number.isFinite(fps) ? Math.round(fps * 1_000) / 1_000 : 0;
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
