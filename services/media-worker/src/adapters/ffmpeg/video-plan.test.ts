import { PermanentFailure } from '@backhaul/queue/job';
import { expect, test } from 'vitest';
import { readProbe } from './probe.ts';
import { type PlanOptions, nextPlan, planVideo, roadOf, wallLimitMs } from './video-plan.ts';

const picture = {
  ...{ index: 0, codec_type: 'video', codec_name: 'h264', profile: 'High', level: 31, pix_fmt: 'yuv420p', width: 1280, height: 720 },
  ...{ avg_frame_rate: '30/1', field_order: 'progressive' },
};
const sound = { index: 1, codec_type: 'audio', codec_name: 'aac', profile: 'LC', channels: 2, sample_rate: '48000' };
const format = { duration: '10.0', bit_rate: '2000000', nb_streams: 2 };
const options: PlanOptions = { shortSidePx: 720, maxBitRate: 4_500_000, maxDurationMs: 60_000, canTonemap: true };

function probe(streams: object[], changed: object = {}) {
  return readProbe(JSON.stringify({ streams, format: { ...format, ...changed } }));
}

function plan(change: object = {}, formatChange: object = {}, more: Partial<PlanOptions> = {}) {
  return planVideo(probe([{ ...picture, ...change }, sound], formatChange), { ...options, ...more });
}

/** ffprobe's way to show a matrix of nine numbers. */
function matrix(a: number, b: number, c: number, d: number): string {
  return `\n00000000: ${a} ${b} 0\n00000001: ${c} ${d} 0\n00000002: 0 0 1073741824\n`;
}

test('what plays everywhere is copied, whatever container it came in', () => {
  const copied = plan();
  expect(copied).toMatchObject({ videoAction: 'copy', audioAction: 'copy', posterAtMs: 1_000, warnings: [] });
  expect(copied).toMatchObject({ poster: { width: 1280, height: 720 }, thumb: { width: 320, height: 180 } });
  expect(roadOf(copied)).toBe('remux');
});

test.each([
  ['another codec', { codec_name: 'hevc' }],
  ['a rare profile', { profile: 'High 10' }],
  ['a level above those of phones', { level: 51 }],
  ['an unknown level', { level: -99 }],
  ['fuller colour', { pix_fmt: 'yuv444p' }],
  ['HDR', { color_transfer: 'smpte2084' }],
  ['half pictures', { field_order: 'tt' }],
  ['oblong pixels', { sample_aspect_ratio: '4:3' }],
  ['too many pixels', { width: 1920, height: 1080 }],
  ['too many pictures a second', { avg_frame_rate: '120/1' }],
  ['an unknown rate', { avg_frame_rate: '0/0' }],
  ['a mirror', { side_data_list: [{ rotation: -180, displaymatrix: matrix(-65536, 0, 0, 65536) }] }],
  ['a slant', { side_data_list: [{ rotation: 45, displaymatrix: matrix(46341, -46341, 46341, 46341) }] }],
])('%s is encoded', (_name, change) => {
  expect(plan(change).videoAction).toBe('encode');
});

test.each([90, -90, 180, 270])('a turn by %d alone is no reason to encode', (rotation) => {
  const displaymatrix = Math.abs(rotation) === 180 ? matrix(-65536, 0, 0, -65536) : matrix(0, -65536, 65536, 0);
  expect(plan({ side_data_list: [{ rotation, displaymatrix }] }).videoAction).toBe('copy');
});

test('the settings decide how large and how costly a copy may be', () => {
  expect(plan({ width: 1920, height: 1080, level: 40 }, {}, { shortSidePx: 1_080 }).videoAction).toBe('copy');
  expect(plan({}, {}, { maxBitRate: 1_000_000 }).videoAction).toBe('encode');
  expect(plan({}, {}, { shortSidePx: 360 })).toMatchObject({ videoAction: 'encode', size: { width: 640, height: 360 } });
});

test('a stream that costs viewers too much, or does not say, is encoded', () => {
  expect(plan({}, { bit_rate: '20000000' }).videoAction).toBe('encode');
  expect(plan({}, { bit_rate: undefined }).videoAction).toBe('encode');
});

test('foreign sound alone is encoded alone', () => {
  const mixed = planVideo(probe([picture, { ...sound, codec_name: 'opus' }]), options);
  expect(mixed).toMatchObject({ videoAction: 'copy', audioAction: 'encode' });
  expect(roadOf(mixed)).toBe('audio_only');
  expect(roadOf(plan({ codec_name: 'vp9' }))).toBe('transcode');
});

test.each([
  [1920, 1080, 0, 1280, 720],
  [1920, 1080, -90, 720, 1280],
  [3840, 2160, 180, 1280, 720],
  [853, 481, 0, 852, 480],
  [1, 1, 0, 2, 2],
  [4000, 10, 0, 4000, 10],
  [8000, 100, 0, 4096, 50],
])('%d x %d turned by %d becomes %d x %d', (width, height, rotation, toWidth, toHeight) => {
  const { size } = plan({ codec_name: 'vp9', width, height, side_data_list: [{ rotation }] });
  expect(size).toEqual({ width: toWidth, height: toHeight });
});

test('oblong pixels and rotation count in the size as displayed', () => {
  const { video } = plan({ width: 720, height: 576, sample_aspect_ratio: '16:11', side_data_list: [{ rotation: -90 }] });
  expect(video).toMatchObject({ displayWidth: 576, displayHeight: 1047, rotation: 90 });
});

test('a pixel shape that no camera has is not believed', () => {
  expect(plan({ sample_aspect_ratio: '1000:1' }).video).toMatchObject({ displayWidth: 1280, displayHeight: 720, squarePixels: true });
});

test('a cover is no video, and spatial audio that nobody decodes is no sound', () => {
  const cover = { ...picture, codec_name: 'mjpeg', disposition: { attached_pic: 1 } };
  expect(() => planVideo(probe([cover, sound]), options)).toThrow(PermanentFailure);
  const spatial = { ...sound, index: 1, codec_name: 'unknown', channels: 4 };
  expect(planVideo(probe([picture, spatial, { ...sound, index: 2 }]), options)).toMatchObject({ audio: { index: 2, codec: 'aac' }, warnings: [] });
  const [dropped] = planVideo(probe([picture, spatial]), options).warnings;
  expect(dropped).toMatchObject({ code: 'audio_dropped' });
});

test('of several tracks the default one counts, then the one with most pictures, then the first', () => {
  const tracks = (...more: object[]) => planVideo(probe(more.map((change, index) => ({ ...picture, ...change, index }))), options).video.index;
  expect(tracks({}, { disposition: { default: 1 } })).toBe(1);
  expect(tracks({ nb_frames: '2' }, { nb_frames: '900' })).toBe(1);
  expect(tracks({}, {})).toBe(0);
});

test('the poster lies within the clip, however short that is', () => {
  const at = (duration: string, rate = '30/1') => plan({ avg_frame_rate: rate }, { duration }).posterAtMs;
  expect([at('10'), at('1.0'), at('0.033'), at('4', '1/2')]).toEqual([1_000, 500, 0, 1_000]);
  expect(plan({}, { duration: 'N/A' }).posterAtMs).toBe(0);
});

test('a plan that failed is followed by ones that ask for less, until nothing is left', () => {
  const hdr = planVideo(
    probe([
      { ...picture, color_transfer: 'arib-std-b67' },
      { ...sound, codec_name: 'opus' },
    ]),
    options,
  );
  const plain = nextPlan(hdr, 'any');
  expect(plain).toMatchObject({ tonemap: false, audioAction: 'encode', warnings: [{ code: 'hdr_not_tonemapped' }] });
  const silent = nextPlan(plain ?? hdr, 'any');
  expect(silent).toMatchObject({ audioAction: 'none', warnings: [{ code: 'hdr_not_tonemapped' }, { code: 'audio_dropped' }] });
  expect(nextPlan(silent ?? hdr, 'any')).toBeUndefined();
  const encoded = nextPlan(plan(), 'any');
  expect(encoded).toMatchObject({ videoAction: 'encode', audioAction: 'encode', warnings: [] });
});

test('where the sound alone is at fault, the pictures are still copied', () => {
  expect(nextPlan(plan(), 'sound')).toMatchObject({ videoAction: 'copy', audioAction: 'none', warnings: [{ code: 'audio_dropped' }] });
});

test('the runs on one video may take ten times its length, but leave time of the job to fetch and store', () => {
  expect([0, 6_000, 18_000, 900_000].map(wallLimitMs)).toEqual([60_000, 120_000, 240_000, 240_000]);
});

test('HDR without the filters for it is told', () => {
  expect(plan({ color_transfer: 'smpte2084' }, {}, { canTonemap: false })).toMatchObject({ tonemap: false, warnings: [{ code: 'hdr_not_tonemapped' }] });
});

test.each([
  ['type_mismatch', {}, [sound]],
  ['too_long', { duration: '61' }, [picture]],
  ['too_large', { nb_streams: 1_000 }, [picture]],
  ['too_large', {}, [{ ...picture, width: 16_384, height: 16_384 }]],
  ['too_large', {}, [{ ...picture, avg_frame_rate: '100000/1' }]],
  ['unsupported', {}, [{ ...picture, codec_name: 'ffv1' }, sound]],
  ['corrupt', {}, [{ ...picture, width: 0, height: 0 }, sound]],
  ['empty', { nb_streams: 0 }, []],
])('a bomb, a wreck or an impostor is refused as %s before anything is decoded (E-13)', (code, change, streams) => {
  expect(() => planVideo(probe(streams, change), options)).toThrow(expect.objectContaining({ code }) as Error);
});

test("nonsense from the prober is the file's fault", () => {
  for (const text of ['', 'null', '{"streams":[{}]}', '[]']) {
    expect(() => planVideo(readProbe(text), options)).toThrow(PermanentFailure);
  }
  expect(probe([{ ...picture, width: 'N/A' }], { duration: 'N/A' })).toMatchObject({ video: undefined, durationMs: undefined });
});
