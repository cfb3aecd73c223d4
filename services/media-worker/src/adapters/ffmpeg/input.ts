import type { MediaFormat } from '@backhaul/jobs/media';

/**
 * The one demuxer for each format. ffmpeg is never left to guess: what looks
 * like a playlist to it would make it open other files and addresses.
 */
const DEMUXERS: Readonly<Partial<Record<MediaFormat, string>>> = {
  mp4: 'mov',
  matroska: 'matroska',
  ogg: 'ogg',
  mp3: 'mp3',
  wav: 'wav',
  aac: 'aac',
  amr: 'amr',
  caf: 'caf',
  flac: 'flac',
  asf: 'asf',
  gif: 'gif',
};

/** The largest single block that ffmpeg may ask for. */
const MAX_ALLOC_BYTES = 512 * 1024 * 1024;

/** Pictures larger than this are refused by the decoder, whatever the container said. */
export const MAX_PIXELS = 8_192 * 8_192;

/** No phone or camera writes as many tracks; a file with thousands burns time in each of them. */
export const MAX_STREAMS = 32;

/**
 * Codecs of what phones, browsers and cameras of the last twenty years
 * produce, as ffprobe names them. ffmpeg has some four hundred; the exotic
 * ones are where its flaws are found, and a file may name any of them.
 */
const PICTURE_CODECS = ['h264', 'hevc', 'vp8', 'vp9', 'av1', 'mpeg4', 'h263', 'mpeg1video', 'mpeg2video', 'mjpeg', 'prores', 'gif', 'png'];
const SOUND_CODECS = [
  ...['aac', 'aac_latm', 'mp2', 'mp3', 'opus', 'vorbis', 'flac', 'alac', 'ac3', 'eac3', 'amr_nb', 'amr_wb', 'wmav1', 'wmav2'],
  ...['adpcm_ima_qt', 'adpcm_ima_wav', 'adpcm_ms', 'pcm_alaw', 'pcm_mulaw', 'pcm_u8', 'pcm_s8', 'pcm_s16le', 'pcm_s16be', 'pcm_s24le', 'pcm_s24be'],
  ...['pcm_s32le', 'pcm_s32be', 'pcm_f32le', 'pcm_f32be', 'pcm_f64le'],
];

/** Decoders whose names are not their codec's. */
const OTHER_PICTURE_DECODERS = ['libvpx', 'libvpx-vp9', 'libdav1d', 'libaom-av1'];
const OTHER_SOUND_DECODERS = ['mp2float', 'mp3float', 'libopus', 'libvorbis', 'amrnb', 'libopencore_amrnb', 'amrwb', 'libopencore_amrwb'];

/** Never used, but ffprobe opens a decoder for every track, and gives up on the file when it may not. */
const SUBTITLE_DECODERS = ['mov_text', 'subrip', 'srt', 'ass', 'ssa', 'text', 'webvtt', 'pgssub', 'dvdsub', 'dvbsub'];

const DECODABLE: ReadonlySet<string> = new Set([...PICTURE_CODECS, ...SOUND_CODECS]);

const DECODERS = [...DECODABLE, ...OTHER_PICTURE_DECODERS, ...OTHER_SOUND_DECODERS, ...SUBTITLE_DECODERS];

/** For sounds: ffmpeg opens a decoder for every track to look at it, and a large cover costs more than the sound. */
export const SOUND_DECODERS = [...SOUND_CODECS, ...OTHER_SOUND_DECODERS];

/** Whether a codec, as ffprobe names it, is one that we open. */
export function isDecodable(codec: string): boolean {
  return DECODABLE.has(codec);
}

/** Nothing that the sender's device wrote about itself survives, nor the name and date of our encoder: the same input makes the same bytes. */
export const ANONYMOUS = ['-map_metadata', '-1', '-map_chapters', '-1', '-fflags', '+bitexact', '-flags:v', '+bitexact', '-flags:a', '+bitexact', '-sn', '-dn'];

/** Quiet, never asks, never takes more than so much at once. */
export const GLOBAL = ['-nostdin', '-hide_banner', '-v', 'error', '-y', '-max_alloc', String(MAX_ALLOC_BYTES)];

/** How far it is, once a second, to descriptor 3. */
export const PROGRESS = ['-progress', 'pipe:3', '-nostats', '-stats_period', '1'];

/** For ffprobe, which asks nothing. */
export const PROBE_GLOBAL = ['-hide_banner', '-v', 'error', '-max_alloc', String(MAX_ALLOC_BYTES), '-max_pixels', String(MAX_PIXELS)];

/** Where a source lies and what it is. */
export interface Source {
  /** A name of ours in the job's folder, never the sender's. */
  readonly file: string;
  readonly format: MediaFormat;
}

/** Opens a source and nothing else. `-format_whitelist` is named beside `-f`, because demuxers may open others inside themselves. */
export function input({ file, format }: Source, options: readonly string[] = [], decoders: readonly string[] = DECODERS): string[] {
  const demuxer = DEMUXERS[format];
  if (demuxer === undefined) throw new TypeError(`no demuxer for ${format}`);
  const allowed = ['-protocol_whitelist', 'file,pipe', '-format_whitelist', demuxer, '-codec_whitelist', decoders.join(',')];
  return [...allowed, '-max_streams', String(MAX_STREAMS), '-f', demuxer, ...options, '-i', `file:${file}`];
}

/** As ffmpeg reads times. */
export function seconds(durationMs: number): string {
  return (durationMs / 1_000).toFixed(3);
}
