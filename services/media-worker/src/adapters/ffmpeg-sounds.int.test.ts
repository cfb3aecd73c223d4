import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdtemp, readFile, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { MediaFormat } from '@backhaul/jobs/media';
import { PermanentFailure } from '@backhaul/queue/job';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATH, type SampleMedia, inspect, lavfi, sampleMedia, startsFast } from '../sample-media.ts';
import type { SoundSettings } from './ffmpeg/audio-arguments.ts';
import { runChild } from '../sandbox/child.ts';
import { type Toolchain, findToolchain } from './ffmpeg/toolchain.ts';
import { ffmpegSounds } from './ffmpeg-sounds.ts';
import { magicBytes } from './magic-bytes.ts';

let samples: SampleMedia;
let toolchain: Toolchain;
const MIB = 1024 ** 2;
const PCM_RATE = 8_000;
const { picture, sound } = lavfi;
const OPUS = ['-c:a', 'libopus', '-b:a', '24k'];

beforeAll(async () => {
  samples = await sampleMedia();
  toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: PATH });
});
afterAll(() => samples[Symbol.asyncDispose]());

interface Asked extends Partial<SoundSettings> {
  readonly container?: MediaFormat;
  readonly maxDurationMs?: number;
  readonly attempt?: number;
  readonly ffmpeg?: string;
  /** Where what is written goes instead. */
  readonly disk?: string;
}

/** One conversion in a folder of its own. */
async function convert(file: string, { container, maxDurationMs = 60_000, attempt = 1, ffmpeg, disk, format = 'mp3', loudnessLufs }: Asked = {}) {
  const folder = await mkdtemp(join(samples.folder, 'job-'));
  const options = {
    runChild,
    toolchain: ffmpeg === undefined ? toolchain : { ...toolchain, ffmpeg },
    threads: 1,
    stallMs: 10_000,
    limits: { memoryBytes: 4_096 * MIB, cpuSeconds: 60, fileBytes: 100 * MIB },
  };
  const sounds = ffmpegSounds(options, { format, loudnessLufs });
  const target = join(folder, `audio.${sounds.output.extension}`);
  const original = join(folder, 'original');
  await copyFile(file, original);
  if (disk !== undefined) await symlink(disk, target);
  const bytes = await readFile(file);
  const pcm: Buffer[] = [];
  const source = { file: original, format: container ?? (await magicBytes.sniff(bytes)) ?? 'other', sizeBytes: bytes.length };
  const { warnings } = await sounds.convert(source, target, {
    maxDurationMs,
    attempt,
    pcmRate: PCM_RATE,
    signal: AbortSignal.timeout(30_000),
    onPcm: (chunk) => pcm.push(chunk),
  });
  const heard = Buffer.concat(pcm);
  const samplesHeard = Array.from({ length: heard.length / 2 }, (_, index) => heard.readInt16LE(2 * index));
  return { folder, target, warnings, output: sounds.output, seconds: samplesHeard.length / PCM_RATE, samples: samplesHeard };
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

/** How loud it is, by the square root of the mean square. */
function loudness(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}

test('a voice note becomes a bare MP3 and exactly its samples', async () => {
  const made = await convert(await samples.voiceNote());
  const { streams, format } = await inspect(made.target);
  expect(made).toMatchObject({ output: { contentType: 'audio/mpeg', extension: 'mp3' }, warnings: [], seconds: 1 });
  expect(streams).toHaveLength(1);
  expect(streams[0]).toMatchObject({ codec_name: 'mp3', channels: 1, bit_rate: '64000' });
  expect(format.tags).toBeUndefined();
  expect((await readFile(made.target)).includes('secret')).toBe(false);
  expect(await readdir(made.folder)).toEqual(['audio.mp3', 'original']);
});

test('as AAC it starts to play before it is loaded, bare as well', async () => {
  const tagged = await samples.make('tagged.m4a', [...sound(), '-c:a', 'aac', '-metadata', 'title=secret', '-metadata', 'location=+51.5-000.1/']);
  const made = await convert(tagged, { format: 'aac' });
  const { streams, format } = await inspect(made.target);
  expect(made.output).toEqual({ contentType: 'audio/mp4', extension: 'm4a' });
  expect(streams).toHaveLength(1);
  expect(streams[0]).toMatchObject({ codec_name: 'aac', profile: 'LC', channels: 1 });
  expect(Number(format.duration)).toBeCloseTo(made.seconds, 1);
  expect(await startsFast(made.target)).toBe(true);
  expect((await readFile(made.target)).includes('secret')).toBe(false);
  expect(Object.keys(format.tags ?? {})).toEqual(['major_brand', 'minor_version', 'compatible_brands']);
});

test('the same sound makes the same bytes', async () => {
  const note = await samples.voiceNote();
  for (const format of ['mp3', 'aac'] as const) {
    const [first, second] = await Promise.all([convert(note, { format }), convert(note, { format })]);
    expect((await readFile(first.target)).equals(await readFile(second.target))).toBe(true);
  }
});

test('asked for, quiet and loud sounds become equally loud, no longer and no shorter; silence stays silent', async () => {
  const quiet = await samples.make('quiet.wav', [...sound(4), '-af', 'volume=0.1']);
  const loud = await samples.make('loud.wav', [...sound(4), '-af', 'volume=7']);
  const silent = await samples.make('silent.wav', ['-f', 'lavfi', '-i', 'anullsrc=sample_rate=48000:duration=1']);
  expect(loudness((await convert(loud)).samples) / loudness((await convert(quiet)).samples)).toBeGreaterThan(30);
  const [a, b, c] = [await convert(quiet, { loudnessLufs: -16 }), await convert(loud, { loudnessLufs: -16 }), await convert(silent, { loudnessLufs: -16 })];
  expect(loudness(b.samples) / loudness(a.samples)).toBeCloseTo(1, 1);
  expect([a.seconds, b.seconds, c.seconds]).toEqual([4, 4, 1]);
  expect(c.samples.every((value) => value === 0)).toBe(true);
  expect((await inspect(a.target)).streams[0]).toMatchObject({ codec_name: 'mp3', channels: 1, sample_rate: '48000' });
});

test('every container that phones and browsers record into is understood, and its length is that of its samples', async () => {
  const files: [string, string[]][] = [
    ['note.m4a', ['-c:a', 'aac']],
    ['note.webm', OPUS],
    ['live.webm', [...OPUS, '-live', '1', '-f', 'webm']],
    ['note.mp3', ['-c:a', 'libmp3lame']],
    ['note.wav', []],
    ['note.aac', ['-c:a', 'aac']],
    ['note.flac', []],
    ['note.caf', []],
    ['note.wma', ['-c:a', 'wmav2']],
    ['note.3gp', ['-c:a', 'aac', '-ar', '16000']],
    ['low.wav', ['-ar', '8000']],
    ['surround.m4a', ['-ac', '6', '-c:a', 'aac']],
    ['surround.ogg', ['-ac', '6', '-c:a', 'libopus']],
  ];
  const lengths = await Promise.all(
    files.map(async ([name, args]) => {
      const { target, seconds } = await convert(await samples.make(name, [...sound(), ...args]));
      const { streams } = await inspect(target);
      expect(streams.map(({ codec_name, channels }) => [codec_name, channels])).toEqual([['mp3', 1]]);
      return [name, Math.abs(seconds - 1) < 0.08] as const;
    }),
  );
  expect(lengths.filter(([, exact]) => !exact)).toEqual([]);
});

test('AMR, which old phones and messages carry, is understood', async () => {
  // Frames of the lowest rates whose bits are all 0: any bits are some sound.
  const narrow = Buffer.concat([Buffer.from('#!AMR\n'), ...Array.from({ length: 50 }, () => Buffer.concat([Buffer.from([0x04]), Buffer.alloc(12)]))]);
  const wide = Buffer.concat([Buffer.from('#!AMR-WB\n'), ...Array.from({ length: 50 }, () => Buffer.concat([Buffer.from([0x04]), Buffer.alloc(17)]))]);
  for (const [name, bytes] of [
    ['narrow.amr', narrow],
    ['wide.amr', wide],
  ] as const) {
    expect((await convert(await samples.write(name, bytes))).seconds).toBeCloseTo(1, 1);
  }
});

test.each(['png', 'mjpeg', 'bmp'])('a cover picture (%s) is ignored, whether or not it could be decoded', async (codec) => {
  const cover = await samples.make(`cover.${codec}`, [...picture('64x64'), '-frames:v', '1', '-f', 'image2', '-c:v', codec]);
  const bare = await samples.make('bare.mp3', [...sound(), '-c:a', 'libmp3lame']);
  const file = await samples.make(`covered-${codec}.mp3`, [
    ...['-i', bare, '-i', cover, '-map', '0', '-map', '1', '-c', 'copy'],
    '-disposition:v:0',
    'attached_pic',
  ]);
  expect((await inspect(file)).streams).toHaveLength(2);
  const { target, warnings } = await convert(file);
  expect((await inspect(target)).streams).toHaveLength(1);
  expect(warnings).toEqual([]);
});

test('of several tracks the first one that sounds is taken, pictures and chapters are not', async () => {
  const chapters = await samples.write('chapters.txt', ';FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=secret\n');
  const file = await samples.make('tracks.mkv', [
    ...[...picture('64x64'), '-f', 'lavfi', '-i', 'sine=frequency=300:duration=1', '-f', 'lavfi', '-i', 'anullsrc=duration=2', '-i', chapters],
    ...['-map', '0', '-map', '1', '-map', '2', '-map_chapters', '3', '-t', '2', '-c:v', 'libx264', '-c:a', 'aac'],
  ]);
  const made = await convert(file, { format: 'aac' });
  expect(made.seconds).toBeCloseTo(1, 1);
  expect(loudness(made.samples)).toBeGreaterThan(1_000);
  expect((await inspect(made.target)).streams).toHaveLength(1);
  expect((await readFile(made.target)).includes('secret')).toBe(false);
});

test('full scale, silence and a note of a few milliseconds are sounds like any other', async () => {
  const clipped = await convert(await samples.make('clipped.wav', ['-f', 'lavfi', '-i', 'aevalsrc=sgn(sin(2*PI*200*t)):s=8000:d=1']));
  expect([Math.min(...clipped.samples), Math.max(...clipped.samples)]).toEqual([-32_768, 32_767]);
  const silent = await convert(await samples.make('silence.ogg', ['-f', 'lavfi', '-i', 'anullsrc=sample_rate=48000:duration=1', ...OPUS]));
  expect(silent.samples.every((value) => value === 0)).toBe(true);
  for (const durationMs of [5, 20, 100]) {
    const blink = await convert(await samples.make(`blink-${durationMs}.wav`, ['-f', 'lavfi', '-i', `aevalsrc=0.5:s=16000:d=${durationMs / 1_000}`]));
    expect(blink.seconds * 1_000).toBe(durationMs);
    expect(Number((await inspect(blink.target)).format.duration)).toBeGreaterThan(0.04);
  }
});

test('a sound that never ends is cut a second after what is accepted, also when its clock stands still', async () => {
  const long = await samples.make('long.ogg', [...sound(5), ...OPUS]);
  expect((await convert(long, { maxDurationMs: 1_000 })).seconds).toBe(2);
  // Every packet says that it is the first one.
  const stopped = await samples.make('stopped.mka', [...sound(5), ...OPUS, '-bsf:a', 'setts=ts=0']);
  for (const more of [{}, { format: 'aac' as const }, { loudnessLufs: -16 }]) {
    const { target, seconds } = await convert(stopped, { maxDurationMs: 1_000, ...more });
    expect(seconds).toBe(2);
    expect(Number((await inspect(target)).format.duration)).toBeCloseTo(2, 0);
  }
});

test('a file that ends before it says so is converted as far as it goes, with a warning', async () => {
  const m4a = await samples.make('whole.m4a', [...sound(2), '-c:a', 'aac', '-movflags', '+faststart']);
  const webm = await samples.make('whole.webm', [...sound(2), ...OPUS, '-cluster_time_limit', '100']);
  for (const [name, file] of [
    ['part.m4a', m4a],
    ['part.webm', webm],
  ] as const) {
    const { seconds, warnings } = await convert(await samples.cut(name, file, 0.6));
    expect(warnings.map(({ code }) => code)).toEqual(['truncated']);
    expect(seconds).toBeGreaterThan(0.6);
    expect(seconds).toBeLessThan(1.8);
  }
});

test('broken, foreign and soundless files are refused for good, with the right reason', async () => {
  const soundless = await samples.make('soundless.mp4', [...picture('64x64'), '-c:v', 'libx264']);
  expect(await codeOf(convert(soundless))).toBe('type_mismatch');
  expect(await codeOf(convert(soundless, { loudnessLufs: -16 }))).toBe('type_mismatch');
  const m4a = await samples.make('note.m4a', [...sound(), '-c:a', 'aac']);
  expect(await codeOf(convert(await samples.cut('cut.m4a', m4a, 0.5)))).toBe('corrupt');
  expect(await codeOf(convert(await samples.write('noise.mp3', Buffer.from('ID3'.padEnd(5_000, '\x07')))))).toBe('corrupt');
  const speex = await samples.make('speex.ogg', [...sound(), '-ar', '16000', '-c:a', 'libspeex']);
  expect(await codeOf(convert(speex))).toBe('unsupported');
  expect(await codeOf(convert(speex, { loudnessLufs: -16 }))).toBe('unsupported');
});

test('damaged sound with a cover is damaged, not unsupported because its cover is', async () => {
  const cover = await samples.make('cover-of-damaged.png', [...picture('64x64'), '-frames:v', '1']);
  const covered = [...sound(), '-i', cover, '-map', '0', '-map', '1', '-c:a', 'aac', '-c:v', 'copy', '-disposition:v:0', 'attached_pic'];
  const bytes = await readFile(await samples.make('covered.m4a', covered));
  bytes.fill(0xff, bytes.indexOf('mdat') + 4, bytes.indexOf('moov') - 4);
  expect(await codeOf(convert(await samples.write('damaged.m4a', bytes)))).toBe('corrupt');
});

test('a playlist that calls itself a sound opens nothing (E-10)', async () => {
  const note = await samples.voiceNote();
  const playlist = await samples.write('list.mp3', `#EXTM3U\n#EXTINF:1,\nfile://${note}\n`);
  expect(await codeOf(convert(playlist, { container: 'mp3' }))).toBe('corrupt');
});

test('an ffmpeg that wrote nothing, or was killed, is tried once more and then given up', async () => {
  const note = await samples.voiceNote();
  const script = async (name: string, body: string) => {
    const file = await samples.write(name, `#!/bin/sh\n${body}\n`);
    await chmod(file, 0o755);
    return file;
  };
  const empty = await script('empty', 'true > audio.mp3; printf 1234 > samples');
  const idle = await script('idle', 'printf 1234 > samples');
  // As a program between us and ffmpeg reports its death.
  const killed = await script('killed', 'printf 1234 > samples; exit 137');
  for (const ffmpeg of [empty, idle, killed]) {
    await expect(convert(note, { ffmpeg })).rejects.toMatchObject({ code: 'decoder_died' });
    expect(await codeOf(convert(note, { ffmpeg, attempt: 2 }))).toBe('crashed');
  }
});

// ffmpeg ends with 0 when it cannot write its last bytes, and leaves half of a sound.
test.skipIf(!existsSync('/dev/full'))('what does not fit on the disk is no sound, and is tried again', async () => {
  const note = await samples.voiceNote();
  for (const format of ['mp3', 'aac'] as const) await expect(convert(note, { format, disk: '/dev/full' })).rejects.toMatchObject({ code: 'disk_full' });
});
