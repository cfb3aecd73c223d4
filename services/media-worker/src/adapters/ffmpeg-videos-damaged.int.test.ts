import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATH, type SampleMedia, lavfi, sampleMedia } from '../sample-media.ts';
import { NO_GUARDS } from '../sandbox/guards.ts';
import { type Toolchain, findToolchain } from './ffmpeg/toolchain.ts';
import { type VideoRun, codeOf, videosUnderTest } from './ffmpeg/videos-under-test.ts';

let samples: SampleMedia;
let toolchain: Toolchain;
let videos: ReturnType<typeof videosUnderTest>;
const { picture, sound, h264 } = lavfi;
const AAC = ['-c:a', 'aac', '-b:a', '64k'];
const MIB = 1024 ** 2;

beforeAll(async () => {
  samples = await sampleMedia();
  toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: PATH });
  videos = videosUnderTest(samples, toolchain);
});
afterAll(() => samples[Symbol.asyncDispose]());

const toMp4 = (file: string, run?: VideoRun) => videos.toMp4(file, run);
/** 320x240, 15 pictures a second. */
const small = (name: string, ...args: readonly string[]) => samples.make(name, [...picture('320x240', 15), ...args]);
const withSound = (name: string, ...more: readonly string[]) => small(name, ...sound(), ...h264, ...AAC, ...more);

/** Whether every coded picture and sound of a file can be decoded. */
async function decodes(file: string): Promise<boolean> {
  const { stderr } = await execa('ffmpeg', ['-v', 'error', '-i', file, '-f', 'null', '-'], { reject: false });
  return stderr === '';
}

test.each([
  ['cut.mp4', ['-movflags', '+faststart'], 'mp4'],
  ['cut-fragments.mp4', ['-movflags', '+frag_every_frame+empty_moov+default_base_moof'], 'mp4 in fragments'],
  ['cut.mkv', [], 'mkv'],
])('of %s what is there is shown, and that it is not all (%s, %s)', async (name, args) => {
  const file = await samples.cut(name, await withSound(`whole-${name}`, ...args), 0.6);
  const { result, codes, targets } = await toMp4(file);
  // Its last picture may be half a one: it is decoded, never passed on.
  expect(result.durationMs).toBeGreaterThan(300);
  expect(result.durationMs).toBeLessThan(900);
  expect(result.hasAudio).toBe(true);
  expect(await decodes(targets.video)).toBe(true);
  // An index of fragments promises no length.
  if (!name.includes('fragments')) expect(codes).toContain('truncated');
});

test('a hole of zeros is not passed on', async () => {
  const holed = await readFile(await withSound('holed-source.mp4'));
  const start = holed.indexOf('mdat') + 4 + 10_000;
  holed.fill(0, start, start + 8_000);
  const { result, targets, pcmMs } = await toMp4(await samples.write('holed.mp4', holed));
  expect(result.road).toBe('transcode');
  // The samples of the first try are not counted with those of the second.
  expect(pcmMs).toBeLessThan(1_100);
  expect(await decodes(targets.video)).toBe(true);
});

test('sound that cannot be decoded is not passed on, and costs nobody the video', async () => {
  const noisy = await readFile(await small('noisy-source.mkv', ...sound(), ...h264, '-c:a', 'flac'));
  for (let frame = noisy.indexOf(Buffer.from([0xff, 0xf8])); frame !== -1; frame = noisy.indexOf(Buffer.from([0xff, 0xf8]), frame))
    noisy.fill(0x5a, frame, frame + 40);
  const { result, codes, pcmMs } = await toMp4(await samples.write('noisy.mkv', noisy));
  expect(result).toMatchObject({ width: 320, height: 240, hasAudio: false });
  expect([codes, pcmMs]).toEqual([['audio_dropped'], 0]);
});

test('a sound track without a single packet is left out, and the pictures are still copied', async () => {
  const silent = await samples.make('packetless.mkv', ['-i', await withSound('sounding.mp4'), '-c', 'copy', '-bsf:a', "noise=drop='1'"]);
  const { result, codes, audio } = await toMp4(silent);
  expect(result).toMatchObject({ road: 'remux', hasAudio: false });
  expect([codes, audio]).toEqual([['audio_dropped'], undefined]);
});

test('a copy that begins in the middle of a group of pictures shows what the original shows', async () => {
  const cutIn = await samples.make('cut-in.mp4', ['-ss', '0.4', '-i', await withSound('long-groups.mp4', '-g', '300'), '-c', 'copy']);
  const { result, video, targets } = await toMp4(cutIn);
  expect(result).toMatchObject({ road: 'remux', durationMs: expect.closeTo(600, -2) as number });
  expect(Number(video?.['start_time'])).toBeCloseTo(0, 1);
  const first = (file: string) => execa('ffmpeg', ['-v', 'error', '-i', file, '-map', '0:v', '-frames:v', '1', '-f', 'md5', '-']);
  expect((await first(targets.video)).stdout).toBe((await first(cutIn)).stdout);
});

test('a copy starts with a picture that stands alone, also where the original does not', async () => {
  const keyless = await samples.make('keyless.mkv', [...['-i', await withSound('groups.mp4', '-g', '5'), '-c', 'copy'], '-bsf:v', "noise=drop='lt(n,3)'"]);
  const { result, targets } = await toMp4(keyless);
  expect(result.road).toBe('remux');
  const args = ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=flags', '-of', 'csv=p=0', targets.video];
  expect((await execa('ffprobe', args)).stdout.split('\n')[0]).toContain('K');
  expect(await decodes(targets.video)).toBe(true);
});

test('times before zero come out from zero on', async () => {
  const early = await samples.make('early.mkv', [
    ...['-i', await withSound('prompt.mp4', '-bf', '0', '-g', '5'), '-c', 'copy'],
    ...['-avoid_negative_ts', 'disabled', '-output_ts_offset', '-0.5'],
  ]);
  const { video, targets } = await toMp4(early);
  expect(Number(video?.['start_time'])).toBeGreaterThanOrEqual(0);
  expect(await decodes(targets.video)).toBe(true);
});

test('a size that changes on the way is brought to one', async () => {
  const parts = [await small('part1.h264', ...h264), await samples.make('part2.h264', [...picture('160x120', 15), ...h264])];
  const joined = await samples.write('joined.h264', Buffer.concat(await Promise.all(parts.map((part) => readFile(part)))));
  const changing = await samples.make('changing.mp4', ['-r', '15', '-f', 'h264', '-i', joined, '-c', 'copy']);
  // The limit makes it be encoded.
  const { result, video } = await toMp4(changing, { settings: { maxBitRate: 100_000 } });
  expect(result).toMatchObject({ road: 'transcode', width: 320, height: 240 });
  expect(video).toMatchObject({ nb_frames: '30' });
});

test('a poster that is not where it was aimed at is the first picture', async () => {
  // Half a second of pictures, two of sound.
  const uneven = await samples.make('short-pictures.mkv', [...picture('320x240', 15, 0.5), ...sound(2), ...h264, '-c:a', 'libopus']);
  const { codes, poster, thumb } = await toMp4(uneven);
  expect([codes, poster, thumb]).toMatchObject([['poster_fallback'], { width: 320, height: 240 }, { width: 320, height: 240 }]);
});

test('subtitles, time codes, covers and further tracks trip nothing and are left out', async () => {
  const lines = await samples.write('lines.srt', '1\n00:00:00,000 --> 00:00:00,900\nhello\n');
  const cover = await samples.make('cover.jpg', [...picture('64x64', 1), '-frames:v', '1', '-update', '1']);
  const plain = await withSound('plain.mp4');
  const tracks = ['-map', '0', '-map', '0:a', '-map', '1', '-c', 'copy'];
  const mov = await samples.make('tracks.mov', ['-i', plain, '-i', lines, ...tracks, '-c:s', 'mov_text', '-timecode', '01:02:03:04']);
  const mkv = await samples.make('tracks.mkv', ['-i', plain, '-i', lines, ...tracks, '-attach', cover, '-metadata:s:t', 'mimetype=image/jpeg']);
  const covered = await samples.make('covered.mp4', ['-i', cover, '-i', plain, '-map', '0', '-map', '1', '-c', 'copy', '-disposition:v:0', 'attached_pic']);
  for (const file of [mov, mkv, covered]) {
    const { result, streams } = await toMp4(file);
    expect(result).toMatchObject({ road: 'remux', width: 320, height: 240, warnings: [] });
    expect(streams.map((stream) => stream['codec_type'])).toEqual(['video', 'audio']);
  }
});

test('broken, foreign, long and pictureless files are refused for good, with the right reason', async () => {
  const clip = await samples.clip();
  expect(await codeOf(toMp4(await samples.cut('cut-index.mp4', clip, 0.5)))).toBe('corrupt');
  expect(await codeOf(toMp4(await samples.write('noise.mp4', Buffer.alloc(5_000, 'noise')), { format: 'mp4' }))).toBe('corrupt');
  const soundOnly = await samples.make('sound.m4a', [...sound(), '-c:a', 'aac']);
  expect(await codeOf(toMp4(soundOnly))).toBe('type_mismatch');
  const coverOnly = await samples.make('song.mp4', [
    ...['-i', soundOnly, '-i', await samples.make('song.jpg', [...picture('64x64', 1), '-frames:v', '1', '-update', '1'])],
    ...['-map', '0', '-map', '1', '-c', 'copy', '-disposition:v:0', 'attached_pic'],
  ]);
  expect(await codeOf(toMp4(coverOnly))).toBe('type_mismatch');
});

test('decoders that no phone or browser needs are never opened', async () => {
  const exotic = await small('exotic.mkv', '-c:v', 'ffv1');
  await expect(toMp4(exotic)).rejects.toMatchObject({ code: 'unsupported', message: expect.not.stringContaining('0x') as string });
  expect(await codeOf(toMp4(await small('exotic-sound.mkv', ...sound(), ...h264, '-c:a', 'dca', '-strict', '-2')))).toBe('unsupported');
});

test('a length is held against the limit as declared and as found', async () => {
  const clip = await samples.clip();
  expect(await codeOf(toMp4(clip, { maxDurationMs: 500 }))).toBe('too_long');
  const silent = await small('no-length.webm', '-c:v', 'libvpx', '-deadline', 'realtime', '-live', '1');
  expect(await codeOf(toMp4(silent, { maxDurationMs: 300 }))).toBe('too_long');
});

test('a decoder that is killed may try again once; the second time it is the file (E-13)', async () => {
  const clip = await samples.clip();
  const tight = { limits: { fileBytes: 10_000 } };
  expect(await codeOf(toMp4(clip, { ...tight, attempt: 1 }))).toBe('decoder_died');
  expect(await codeOf(toMp4(clip, { ...tight, attempt: 2 }))).toBe('crashed');
  const starved = { limits: { memoryBytes: 64 * MIB } };
  expect(await codeOf(toMp4(clip, { ...starved, attempt: 1 }))).toBe('decoder_died');
});

test('a decoder that does not move is killed, and told as too slow the second time', async () => {
  const clip = await samples.clip();
  expect(await codeOf(toMp4(clip, { stallMs: 1, attempt: 1 }))).toBe('decoder_died');
  expect(await codeOf(toMp4(clip, { stallMs: 1, attempt: 2 }))).toBe('timeout');
});

test('an ffmpeg that cannot be started is no fault of the file, however often it is tried', async () => {
  const missing = '/usr/bin/no-such-program';
  // The one is looked at without ffprobe, the other is not.
  const [plain, foreign] = [await samples.clip(), await withSound('foreign.mkv')];
  // With the guards of this machine it is they that cannot start it.
  for (const guards of [toolchain.guards, NO_GUARDS]) {
    expect(await codeOf(toMp4(plain, { toolchain: { ffmpeg: missing, guards }, attempt: 2 }))).toBe('unavailable');
    expect(await codeOf(toMp4(foreign, { toolchain: { ffprobe: missing, guards }, attempt: 2 }))).toBe('unavailable');
  }
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
