import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { box, editBox, seededRandom, u32 } from '../../corpus/bytes.ts';
import { corpusTools, createSlots } from '../../corpus/generate.ts';
import { CORPUS } from '../../corpus/table.ts';
import { type SampleMedia, lavfi, sampleMedia, sizeOf } from '../../sample-media.ts';
import { magicBytes } from '../magic-bytes.ts';
import { probeMp4 } from './mp4-probe.ts';
import { PROBE_ENTRIES, type ProbedMedia, readProbe } from './probe.ts';
import { probeArguments } from './video-arguments.ts';

let samples: SampleMedia;
const slots = createSlots(2);

beforeAll(async () => {
  samples = await sampleMedia();
});
afterAll(() => samples[Symbol.asyncDispose]());

/** What ffprobe says; undefined when it gives up. */
async function byFfprobe(file: string): Promise<ProbedMedia | undefined> {
  const args = probeArguments({ file, format: 'mp4', sizeBytes: await sizeOf(file) }, PROBE_ENTRIES);
  const { exitCode, stdout } = await slots(() => execa('ffprobe', args, { reject: false, timeout: 20_000 }));
  return exitCode === 0 ? readProbe(stdout) : undefined;
}

const picture = lavfi.picture('320x240', 15);
const [sound, x264, aac] = [lavfi.sound(), lavfi.h264, ['-c:a', 'aac', '-b:a', '64k']];
/** With B-frames. */
const slow = ['-c:v', 'libx264', '-preset', 'faster', '-bf', '3', '-pix_fmt', 'yuv420p'];
const both = (...args: readonly string[]) => [...picture, ...sound, ...x264, ...aac, ...args];
const silent = (...args: readonly string[]) => [...picture, ...x264, ...args];
const colors = (name: string) => ['-colorspace', name, '-color_trc', name, '-color_primaries', name, '-color_range', 'tv'];

const PLAIN: Readonly<Record<string, readonly string[]>> = {
  'mono.mp4': both(),
  'mono.mov': both(),
  'mono.3gp': both(),
  'index-in-front.mp4': both('-movflags', '+faststart'),
  'stereo.mp4': both('-ac', '2', '-ar', '44100'),
  'low-rate.mp4': both('-ar', '22050'),
  'no-sound.mp4': silent(),
  'sound-first.mp4': [...picture, ...sound, '-map', '1', '-map', '0', ...x264, ...aac],
  'sound-longer.mp4': [...picture, ...lavfi.sound(2), ...x264, ...aac],
  'b-frames.mp4': [...picture, ...sound, ...slow, ...aac],
  'b-frames-shifted.mp4': [...picture, ...sound, ...slow, ...aac, '-movflags', '+negative_cts_offsets'],
  'no-edits.mp4': both('-use_editlist', '0'),
  'every-picture-alone.mp4': silent('-g', '1'),
  'one-picture.mp4': silent('-frames:v', '1'),
  'uneven.mp4': [...picture, ...sound, '-vf', "select='if(lt(t,0.5),1,not(mod(n,5)))'", '-fps_mode', 'vfr', ...x264, ...aac],
  'ntsc.mp4': [...lavfi.picture('320x240', 30), '-r', '30000/1001', ...x264],
  'clock-of-90000.mp4': silent('-video_track_timescale', '90000'),
  'baseline.mp4': [...picture, ...slow, '-bf', '0', '-profile:v', 'baseline'],
  'main.mp4': [...picture, ...slow, '-profile:v', 'main'],
  'high.mp4': [...picture, ...slow, '-profile:v', 'high'],
  'level-4.1.mp4': silent('-level', '4.1'),
  'full-hd.mp4': [...lavfi.picture('1920x1080', 5), ...x264],
  'cropped.mp4': [...lavfi.picture('322x242', 15), ...x264],
  'oblong-pixels.mp4': silent('-vf', 'setsar=16/11'),
  'narrow-pixels.mov': silent('-vf', 'setsar=3/4'),
  'full-range.mp4': silent('-pix_fmt', 'yuvj420p'),
  'bt709.mp4': silent(...colors('bt709')),
  'smpte170m.mov': silent(...colors('smpte170m'), '-movflags', '+write_colr'),
  'slices.mp4': [...picture, ...slow, '-x264-params', 'slices=4:aud=1'],
  'buffer-described.mp4': [...picture, ...slow, '-x264-params', 'nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500'],
  'titled.mp4': both('-metadata', 'title=x', '-metadata', 'comment=y'),
};

/** Made of a plain one without coding it again. */
const COPIES: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(['mp4', 'mov'].flatMap((type) => [90, 180, 270].map((turn) => [`turned-${turn}.${type}`, ['-metadata:s:v', `rotate=${turn}`]]))),
  'cut-in.mp4': ['-ss', '0.4'],
  'range-of-the-container.mp4': [...colors('bt709'), '-color_range', 'pc'],
};

const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  'fragments.mp4': both('-movflags', '+frag_keyframe+empty_moov'),
  'interlaced.mp4': silent('-flags', '+ilme+ildct'),
  'halves.mp4': [...picture, ...slow, '-x264-params', 'pic-struct=1'],
  'hdr.mp4': silent('-colorspace', 'bt2020nc', '-color_trc', 'arib-std-b67', '-color_primaries', 'bt2020'),
  'deep.mp4': silent('-pix_fmt', 'yuv420p10le'),
  'surround.mp4': both('-ac', '6'),
  'mp3.mp4': both('-c:a', 'libmp3lame'),
  'two-sounds.mp4': [...picture, ...sound, '-map', '0', '-map', '1', '-map', '1', ...x264, ...aac],
  'time-code.mov': both('-timecode', '01:02:03:04'),
  'mpeg4.mp4': [...picture, '-c:v', 'mpeg4'],
};

test.concurrent.each(Object.keys(PLAIN))('%s is read, as ffprobe reads it', async (name) => {
  const file = await slots(() => samples.make(name, PLAIN[name] ?? []));
  const media = await probeMp4(file);
  expect(media).toBeDefined();
  expect(media).toEqual(await byFfprobe(file));
});

test.concurrent.each(Object.keys(COPIES))('%s is read, as ffprobe reads it', async (name) => {
  const source = await slots(() => samples.make('mono.mp4', PLAIN['mono.mp4'] ?? []));
  const [before, after] = name === 'cut-in.mp4' ? [COPIES[name] ?? [], []] : [[], COPIES[name] ?? []];
  const file = await slots(() => samples.make(name, [...before, '-i', source, '-c', 'copy', ...after]));
  const media = await probeMp4(file);
  expect(media).toBeDefined();
  expect(media).toEqual(await byFfprobe(file));
});

test.concurrent.each(Object.keys(FOREIGN))('%s is left to ffprobe', async (name) => {
  const file = await slots(() => samples.make(name, FOREIGN[name] ?? []));
  expect(await probeMp4(file)).toBeUndefined();
});

describe('boxes that no encoder here writes', () => {
  const video = ['moov', 'trak'];
  /** A video whose index comes last, so that it may grow. */
  const edited = async (name: string, edit: (bytes: Buffer) => Buffer) => {
    const source = await samples.make('mono.mp4', PLAIN['mono.mp4'] ?? []);
    return samples.write(name, edit(await readFile(source)));
  };
  const append =
    (path: readonly string[], ...more: Buffer[]) =>
    (bytes: Buffer) =>
      editBox(bytes, path, (content) => Buffer.concat([content, ...more]));

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['of phones about the aperture', append(video, box('tapt', box('clef', u32(0), u32(320 << 16), u32(240 << 16))))],
    [
      'of a place, with the zero that ends a list',
      (bytes) => editBox(bytes, ['moov', 'udta'], () => Buffer.concat([box('\u{a9}xyz', Buffer.from('\0\x04\x15\xc7+1+1', 'latin1')), u32(0)])),
    ],
    ['of other words of phones', append(['moov', 'udta'], box('SDLN', Buffer.from('SEQ_PLAY')), box('smrd', Buffer.from('TRUEBLUE')))],
    ['that fill up', append(['moov'], box('free', Buffer.alloc(100)))],
    [
      'for what was said of each moment',
      (bytes) => {
        // The sound becomes a track of metadata.
        const sample = Buffer.from(bytes);
        for (const [from, to] of [
          ['soun', 'meta'],
          ['mp4a', 'mebx'],
        ] as const) {
          sample.write(to, sample.indexOf(from, sample.lastIndexOf('mdhd')), 'latin1');
        }
        return sample;
      },
    ],
  ])('%s are read over', async (name, edit) => {
    const file = await edited(`${name}.mp4`, edit);
    const media = await probeMp4(file);
    expect(media).toBeDefined();
    expect(media).toEqual(await byFfprobe(file));
  });

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['a cover', (bytes) => Buffer.from(bytes.toString('latin1').replace('\u{a9}too', 'covr'), 'latin1')],
    ['fragments to come', append(['moov'], box('mvex', box('trex', Buffer.alloc(24))))],
    ['a compressed index', append(['moov'], box('cmov', Buffer.alloc(16)))],
    ['chapters', append(video, box('tref', box('chap', u32(2))))],
    ['a second header', append(video, box('tkhd', Buffer.alloc(84)))],
    ['encryption', append([...video, 'mdia', 'minf', 'stbl'], box('saiz', Buffer.alloc(9)))],
    [
      'a slanting matrix',
      (bytes) => editBox(bytes, [...video, 'tkhd'], (content) => Buffer.concat([content.subarray(0, 44), u32(9_999), content.subarray(48)])),
    ],
    [
      'three edits',
      (bytes) => editBox(bytes, [...video, 'edts', 'elst'], () => Buffer.concat([u32(0), u32(3), ...[1, 2, 3].flatMap((n) => [u32(n), u32(0), u32(65_536)])])),
    ],
    [
      'data elsewhere',
      (bytes) =>
        editBox(bytes, [...video, 'mdia', 'minf', 'dinf', 'dref'], () => Buffer.concat([u32(0), u32(1), box('url ', u32(0), Buffer.from('http://x\0'))])),
    ],
    ['something behind its end', (bytes) => Buffer.concat([bytes, Buffer.from('SEFT')])],
    ['a fragment behind', (bytes) => Buffer.concat([bytes, box('moof')])],
  ])('%s is left to ffprobe', async (name, edit) => {
    expect(await probeMp4(await edited(`${name}.mp4`, edit))).toBeUndefined();
  });
});

test('of every MP4 of the corpus it says what ffprobe says, or leaves it to that', { timeout: 240_000 }, async () => {
  // Nobody is called: nothing here opens what it is about.
  const tools = await corpusTools('http://127.0.0.1:9');
  const read = await Promise.all(
    CORPUS.filter(({ kind }) => kind === 'video').map(async (row, index) => {
      const bytes = await row.make(tools);
      if ((await magicBytes.sniff(bytes)) !== 'mp4') return undefined;
      const file = await samples.write(`corpus-${index}.mp4`, bytes);
      const media = await probeMp4(file);
      if (media !== undefined) expect({ name: row.name, media }).toEqual({ name: row.name, media: await byFfprobe(file) });
      return media && row.name;
    }),
  );
  const plain = [
    'mp4, h264 + aac, index at its end',
    'mp4, h264 + aac, index in front',
    'mov, h264 + aac',
    'h264 main',
    'h264 high, with B-frames',
    'no sound',
  ];
  expect(read).toEqual(expect.arrayContaining([...plain, 'turned by 90 degrees', 'its sound starts half a second late']));
});

describe('damage', () => {
  let whole: Buffer;

  beforeAll(async () => {
    whole = await readFile(await samples.make('b-frames.mp4', PLAIN['b-frames.mp4'] ?? []));
  });

  /** A damaged file of its own, and how long the answer took. */
  async function probeBytes(name: string, bytes: Buffer) {
    const file = join(samples.folder, `${name}.mp4`);
    await writeFile(file, bytes);
    const startedAt = performance.now();
    const media = await probeMp4(file);
    return { file, media, elapsedMs: performance.now() - startedAt };
  }

  test('wherever a file is cut, it is left to ffprobe', async () => {
    const random = seededRandom(1);
    for (let cut = 0; cut < 200; cut++) {
      // Half of them in the index, which comes last.
      const length = cut % 2 === 0 ? random() % whole.length : whole.length - 1 - (random() % (whole.length - whole.indexOf('moov')));
      expect((await probeBytes('cut', whole.subarray(0, length))).media).toBeUndefined();
    }
    const inFront = await readFile(await samples.make('index-in-front.mp4', PLAIN['index-in-front.mp4'] ?? []));
    expect((await probeBytes('cut', inFront.subarray(0, inFront.indexOf('mdat') - 4))).media).toBeUndefined();
  });

  test('a table that names bytes behind the end is left to ffprobe', async () => {
    const data = whole.indexOf('mdat');
    const shorter = Buffer.concat([
      whole.subarray(0, data - 4),
      u32(8 + 1_000),
      Buffer.from('mdat'),
      Buffer.alloc(1_000),
      whole.subarray(whole.indexOf('moov') - 4),
    ]);
    expect((await probeBytes('shorter', shorter)).media).toBeUndefined();
  });

  test('whatever the bytes, it answers soon', async () => {
    const index = whole.indexOf('moov');
    for (let seed = 1; seed <= 1_000; seed++) {
      const random = seededRandom(seed);
      random();
      const bytes = Buffer.from(whole);
      for (let change = random() % 20; change >= 0; change--) {
        const at = index + (random() % (bytes.length - index));
        // Numbers of many ones are what makes a reader allocate.
        bytes[at] = random() % 2 === 0 ? 0xff : random() & 0xff;
      }
      expect((await probeBytes('mutated', bytes)).elapsedMs, `seed ${seed}`).toBeLessThan(1_000);
    }
  });

  test('an index of nothing but boxes, or of the longest tables, takes no time', async () => {
    const many = Buffer.concat(Array.from({ length: 1_000_000 }, () => box('free')));
    const file = Buffer.concat([whole.subarray(0, 32), box('moov', many.subarray(0, 8 * 1024 ** 2 - 8))]);
    expect(await probeBytes('boxes', file)).toMatchObject({ media: undefined, elapsedMs: expect.toSatisfy((ms: number) => ms < 1_000) as number });
    const claims = editBox(whole, ['moov', 'trak', 'mdia', 'minf', 'stbl', 'stsz'], () => Buffer.concat([u32(0), u32(1), u32(0xffffffff)]));
    expect(await probeBytes('claims', claims)).toMatchObject({ media: undefined, elapsedMs: expect.toSatisfy((ms: number) => ms < 1_000) as number });
  });

  test("one bit that has fallen over in the index makes no answer that is not ffprobe's", { timeout: 120_000 }, async () => {
    const start = whole.indexOf('moov') - 4;
    const length = whole.readUInt32BE(start);
    const answered = await Promise.all(
      Array.from({ length: 300 }, async (_, seed) => {
        const random = seededRandom(seed);
        random();
        const bytes = Buffer.from(whole);
        const at = start + (random() % length);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (random() % 8));
        const { file, media } = await probeBytes(`flipped-${seed}`, bytes);
        if (media === undefined) return false;
        // Where ffprobe gives up, ffmpeg does so as well, a little later.
        const theirs = await byFfprobe(file);
        if (theirs !== undefined) expect(media, `seed ${seed}`).toEqual(theirs);
        return true;
      }),
    );
    // Dates, names, languages, buffers: much of an index says nothing of what is asked.
    expect(answered.filter(Boolean).length).toBeGreaterThan(50);
  });
});
