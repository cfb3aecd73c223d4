import { mkdtemp, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { MediaFormat } from '@backhaul/jobs/media';
import { PermanentFailure } from '@backhaul/queue/job';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATH, type SampleMedia, inspect, lavfi, sampleMedia, sizeOf, startsFast } from '../sample-media.ts';
import { type Toolchain, findToolchain } from './ffmpeg/toolchain.ts';
import { ffmpegSounds } from './ffmpeg-sounds.ts';
import { ffmpegVideos } from './ffmpeg-videos.ts';
import { magicBytes } from './magic-bytes.ts';

let samples: SampleMedia;
let toolchain: Toolchain;
const MIB = 1024 ** 2;
const { picture, sound, h264 } = lavfi;

beforeAll(async () => {
  samples = await sampleMedia();
  toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: PATH });
});
afterAll(() => samples[Symbol.asyncDispose]());

const options = () => ({ toolchain, threads: 1, stallMs: 10_000, limits: { memoryBytes: 4_096 * MIB, cpuSeconds: 60, fileBytes: 100 * MIB } });

async function toMp4(file: string, more: { maxDurationMs?: number; format?: MediaFormat } = {}) {
  const folder = await mkdtemp(join(samples.folder, 'job-'));
  const targets = { video: join(folder, 'video.mp4'), poster: join(folder, 'poster.jpg'), thumb: join(folder, 'thumb.jpg') };
  const percents: number[] = [];
  const format = more.format ?? (await magicBytes.sniff(await readFile(file))) ?? 'other';
  const result = await ffmpegVideos(options()).toMp4({ file, format, sizeBytes: await sizeOf(file) }, targets, {
    maxDurationMs: more.maxDurationMs ?? 60_000,
    attempt: 1,
    pcmRate: 8_000,
    onPcm: () => undefined,
    onRestart: () => undefined,
    signal: AbortSignal.timeout(30_000),
    progress: (percent) => percents.push(percent),
  });
  const { streams, format: container } = await inspect(targets.video);
  const video = streams.find((stream) => stream['codec_type'] === 'video');
  const audio = streams.find((stream) => stream['codec_type'] === 'audio');
  const poster = (await inspect(targets.poster)).streams[0];
  return { result, percents, video, audio, container, poster, targets, folder };
}

async function toMp3(file: string, format?: MediaFormat) {
  const folder = await mkdtemp(join(samples.folder, 'job-'));
  const target = join(folder, 'audio.mp3');
  const pcm: Buffer[] = [];
  await ffmpegSounds(options()).convert(
    { file, format: format ?? (await magicBytes.sniff(await readFile(file))) ?? 'other', sizeBytes: await sizeOf(file) },
    target,
    {
      maxDurationMs: 60_000,
      attempt: 1,
      pcmRate: 8_000,
      signal: AbortSignal.timeout(30_000),
      onPcm: (chunk) => pcm.push(chunk),
    },
  );
  return { target, pcm: Buffer.concat(pcm), ...(await inspect(target)) };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PermanentFailure) return error.code;
    throw error;
  }
  return 'no failure';
}

test('a video that plays everywhere is only put into a new container', async () => {
  const clip = await samples.clip();
  const { result, video, audio, container, poster, targets, percents } = await toMp4(clip);
  expect(result).toMatchObject({ road: 'remux', width: 640, height: 360, fps: 30, hasAudio: true, durationMs: expect.closeTo(1_000, -2) as number });
  expect(video).toMatchObject({ codec_name: 'h264', width: 640, height: 360 });
  expect(audio).toMatchObject({ codec_name: 'aac' });
  expect(container.format_name).toContain('mp4');
  expect(poster).toMatchObject({ codec_name: 'mjpeg', width: 640, height: 360 });
  expect(await startsFast(targets.video)).toBe(true);
  expect(percents.at(-1)).toBe(100);
});

test('a large portrait video from a phone is turned upright, made smaller and forgets where it was taken', async () => {
  const portrait = await samples.portrait();
  expect(JSON.stringify(await inspect(portrait))).toContain('+51.5');
  const { result, video, container, poster, targets } = await toMp4(portrait);
  expect(result).toMatchObject({
    road: 'transcode',
    width: 720,
    height: 960,
    posterWidth: 480,
    posterHeight: 640,
    source: { width: 1280, height: 960, rotation: 90, videoCodec: 'h264', audioCodec: 'aac' },
  });
  expect(video).toMatchObject({ codec_name: 'h264', width: 720, height: 960, pix_fmt: 'yuv420p' });
  expect(video?.['side_data_list']).toBeUndefined();
  expect(poster).toMatchObject({ width: 480, height: 640 });
  expect(JSON.stringify(container)).not.toMatch(/51\.5|creation_time/);
  expect(await startsFast(targets.video)).toBe(true);
});

test('a small turned video is copied with its turn, and its size is told as displayed', async () => {
  const turned = await samples.make('turned.mp4', ['-i', await samples.clip(), '-c', 'copy', '-metadata:s:v:0', 'rotate=90']);
  const { result, video, poster } = await toMp4(turned);
  expect(result).toMatchObject({ road: 'remux', width: 360, height: 640, source: { rotation: 270 } });
  expect(video).toMatchObject({ width: 640, height: 360, side_data_list: [expect.objectContaining({ rotation: 90 })] });
  expect(poster).toMatchObject({ width: 360, height: 640 });
});

test('a video without sound is no failure', async () => {
  const silent = await samples.make('silent.webm', [...picture('320x240', 15), '-c:v', 'libvpx', '-b:v', '300k']);
  const { result, video, audio } = await toMp4(silent);
  expect(result).toMatchObject({ road: 'transcode', hasAudio: false, source: { videoCodec: 'vp8', audioCodec: null } });
  expect(video).toMatchObject({ codec_name: 'h264' });
  expect(audio).toBeUndefined();
});

test('an odd size is made even', async () => {
  const odd = await samples.make('odd.mkv', [...picture('321x241', 15), '-c:v', 'mpeg4']);
  const { result, video } = await toMp4(odd);
  expect(result).toMatchObject({ width: 320, height: 240 });
  expect(video).toMatchObject({ width: 320, height: 240 });
});

test('foreign sound beside fitting pictures is converted alone', async () => {
  const foreign = await samples.make('opus.mkv', ['-i', await samples.clip(), '-c:v', 'copy', '-c:a', 'libopus', '-b:a', '64k']);
  const { result, audio } = await toMp4(foreign);
  expect(result.road).toBe('remux');
  expect(audio).toMatchObject({ codec_name: 'aac' });
});

test('a live recording that does not know its length is measured while it is read', async () => {
  const live = await samples.make('live.webm', [
    ...picture('320x240', 15),
    ...sound(),
    '-c:v',
    'libvpx',
    '-b:v',
    '300k',
    '-c:a',
    'libopus',
    '-f',
    'webm',
    '-live',
    '1',
  ]);
  const { result } = await toMp4(live);
  expect(result.durationMs).toBeGreaterThan(900);
  expect(result.durationMs).toBeLessThan(1_200);
  expect(await codeOf(toMp4(live, { maxDurationMs: 300 }))).toBe('too_long');
});

test('HDR becomes ordinary video', async () => {
  const hdr = await samples.make('hdr.mp4', [
    ...picture('320x240', 10),
    ...[
      '-pix_fmt',
      'yuv420p10le',
      '-c:v',
      'libx265',
      '-preset',
      'ultrafast',
      '-tag:v',
      'hvc1',
      '-x265-params',
      'log-level=none:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc',
    ],
  ]);
  const { video } = await toMp4(hdr);
  expect(video).toMatchObject({ codec_name: 'h264', pix_fmt: 'yuv420p', color_transfer: 'bt709' });
});

test('10-bit H.264 is encoded again, because phones do not play it', async () => {
  const deep = await samples.make('deep.mp4', [...picture('320x240', 10), '-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p10le']);
  expect((await toMp4(deep)).result.road).toBe('transcode');
});

test('a clip of one picture has a poster', async () => {
  const blink = await samples.make('blink.mp4', [...picture('320x240', 10, 0.1), ...h264]);
  expect((await toMp4(blink)).poster).toMatchObject({ width: 320, height: 240 });
});

test('broken, foreign, long and pictureless files are refused for good, with the right reason', async () => {
  const clip = await samples.clip();
  expect(await codeOf(toMp4(await samples.cut('cut.mp4', clip, 0.5)))).toBe('corrupt');
  expect(await codeOf(toMp4(await samples.write('noise.mp4', Buffer.alloc(5_000, 'noise')), { format: 'mp4' }))).toBe('corrupt');
  expect(await codeOf(toMp4(clip, { maxDurationMs: 500 }))).toBe('too_long');
  const soundOnly = await samples.make('sound.m4a', [...sound(), '-c:a', 'aac']);
  expect(await codeOf(toMp4(soundOnly))).toBe('type_mismatch');
});

test('a playlist that calls itself a video opens nothing (E-10)', async () => {
  const clip = await samples.clip();
  const playlist = await samples.write('evil.mp4', `#EXTM3U\n#EXTINF:1,\nfile://${clip}\n#EXT-X-ENDLIST\n`);
  const concat = await samples.write('concat.mp4', `ffconcat version 1.0\nfile '${clip}'\n`);
  for (const format of ['mp4', 'matroska'] as const) {
    expect(await codeOf(toMp4(playlist, { format }))).toBe('corrupt');
    expect(await codeOf(toMp4(concat, { format }))).toBe('corrupt');
  }
});

test('a voice note becomes a bare MP3 and exactly its samples', async () => {
  const { pcm, streams, format } = await toMp3(await samples.voiceNote());
  expect(pcm.length).toBe(16_000);
  expect(streams).toHaveLength(1);
  expect(streams[0]).toMatchObject({ codec_name: 'mp3', channels: 1, sample_rate: '48000', bit_rate: '64000' });
  expect(format.tags).toBeUndefined();
});

test('every container that phones and browsers record into is understood', async () => {
  const kinds: Record<string, string[]> = {
    'a.mp3': ['-c:a', 'libmp3lame'],
    'a.wav': ['-ar', '16000'],
    'a.m4a': ['-c:a', 'aac'],
    'a.aac': ['-c:a', 'aac', '-f', 'adts'],
    'a.webm': ['-c:a', 'libopus'],
    'a.flac': [],
    'a.caf': ['-c:a', 'pcm_s16le'],
    'a.wma': ['-c:a', 'wmav2'],
    'a.3gp': ['-c:a', 'aac'],
    'a.ogg': ['-c:a', 'libvorbis'],
  };
  for (const [name, args] of Object.entries(kinds)) {
    const { pcm } = await toMp3(await samples.make(name, [...sound(0.5), ...args]));
    expect([name, Math.abs(pcm.length / 16 - 500) < 60]).toEqual([name, true]);
  }
});

test('a cover picture in a sound file is ignored', async () => {
  const jpeg = await samples.make('cover.jpg', [...picture('64x64', 1), '-frames:v', '1', '-update', '1']);
  const song = await samples.make('plain.mp3', [...sound(), '-c:a', 'libmp3lame']);
  const covered = await samples.make('covered.mp3', [
    '-i',
    song,
    '-i',
    jpeg,
    '-map',
    '0:a',
    '-map',
    '1:v',
    '-c',
    'copy',
    '-disposition:v:0',
    'attached_pic',
    '-id3v2_version',
    '3',
  ]);
  expect((await toMp3(covered)).streams).toHaveLength(1);
  expect(await codeOf(toMp4(covered, { format: 'mp3' }))).toBe('type_mismatch');
});

test('a sound file without sound is refused', async () => {
  const silent = await samples.make('soundless.mp4', [...picture('64x64', 5), ...h264]);
  expect(await codeOf(toMp3(silent))).toBe('type_mismatch');
  expect(await codeOf(toMp3(await samples.write('noise.ogg', Buffer.alloc(5_000, 'OggS')), 'ogg'))).toBe('corrupt');
});

test('nothing is left in the folder but the outputs', async () => {
  const { folder } = await toMp4(await samples.portrait());
  expect(await readdir(folder)).toEqual(['poster.jpg', 'video.mp4']);
});
