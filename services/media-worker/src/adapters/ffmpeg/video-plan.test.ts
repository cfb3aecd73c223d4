import { PermanentFailure } from '@backhaul/queue/job';
import { expect, test } from 'vitest';
import { readProbe } from './probe.ts';
import { planVideo } from './video-plan.ts';

const picture = { index: 0, codec_type: 'video', codec_name: 'h264', profile: 'High', pix_fmt: 'yuv420p', width: 1280, height: 720, avg_frame_rate: '30/1' };
const sound = { index: 1, codec_type: 'audio', codec_name: 'aac', profile: 'LC', channels: 2, sample_rate: '48000' };
const format = { duration: '10.0', bit_rate: '2000000', nb_streams: 2 };

function probe(streams: object[], changed: object = {}) {
  return readProbe(JSON.stringify({ streams, format: { ...format, ...changed } }));
}

function plan(change: object = {}, formatChange: object = {}) {
  return planVideo(probe([{ ...picture, ...change }, sound], formatChange), 60_000);
}

test('what plays everywhere is copied, whatever container it came in', () => {
  expect(plan()).toMatchObject({ videoAction: 'copy', audioAction: 'copy', posterAtMs: 1_000, poster: { width: 640, height: 360 } });
});

test.each([
  ['another codec', { codec_name: 'hevc' }],
  ['a rare profile', { profile: 'High 10' }],
  ['fuller colour', { pix_fmt: 'yuv444p' }],
  ['HDR', { color_transfer: 'smpte2084' }],
  ['oblong pixels', { sample_aspect_ratio: '4:3' }],
  ['too many pixels', { width: 1920, height: 1080 }],
  ['too many pictures a second', { avg_frame_rate: '120/1' }],
  ['an unknown rate', { avg_frame_rate: '0/0' }],
])('%s is encoded', (_name, change) => {
  expect(plan(change).videoAction).toBe('encode');
});

test('a stream that costs viewers too much, or does not say, is encoded', () => {
  expect(plan({}, { bit_rate: '20000000' }).videoAction).toBe('encode');
  expect(plan({}, { bit_rate: undefined }).videoAction).toBe('encode');
});

test.each([
  [1920, 1080, 0, 1280, 720],
  [1920, 1080, -90, 720, 1280],
  [3840, 2160, 180, 1280, 720],
  [853, 481, 0, 852, 480],
  [1, 1, 0, 2, 2],
  [4000, 10, 0, 4000, 10],
])('%d x %d turned by %d becomes %d x %d', (width, height, rotation, toWidth, toHeight) => {
  const { size } = plan({ codec_name: 'vp9', width, height, side_data_list: [{ rotation }] });
  expect(size).toEqual({ width: toWidth, height: toHeight });
});

test('oblong pixels and rotation count in the size as displayed', () => {
  const { video } = plan({ width: 720, height: 576, sample_aspect_ratio: '16:11', side_data_list: [{ rotation: -90 }] });
  expect(video).toMatchObject({ displayWidth: 576, displayHeight: 1047, rotation: 90 });
});

test('a cover is no video, and spatial audio that nobody decodes is no sound', () => {
  const cover = { ...picture, codec_name: 'mjpeg', disposition: { attached_pic: 1 } };
  expect(() => planVideo(probe([cover, sound]), 60_000)).toThrow(PermanentFailure);
  const spatial = { ...sound, index: 1, codec_name: 'unknown', channels: 4 };
  expect(planVideo(probe([picture, spatial, { ...sound, index: 2 }]), 60_000).audio).toMatchObject({ index: 2, codec: 'aac' });
  expect(planVideo(probe([picture, spatial]), 60_000)).toMatchObject({ audio: undefined, audioAction: 'none' });
});

test.each([
  ['type_mismatch', {}, [sound]],
  ['too_long', { duration: '61' }, [picture]],
  ['too_large', { nb_streams: 1_000 }, [picture]],
  ['too_large', {}, [{ ...picture, width: 16_384, height: 16_384 }]],
  ['too_large', {}, [{ ...picture, avg_frame_rate: '100000/1' }]],
])('a bomb or an impostor is refused as %s before anything is decoded (E-13)', (code, change, streams) => {
  expect(() => planVideo(probe(streams, change), 60_000)).toThrow(expect.objectContaining({ code }) as Error);
});

test("nonsense from the prober is the file's fault", () => {
  for (const text of ['', 'null', '{"streams":[{}]}', '[]']) {
    expect(() => planVideo(readProbe(text), 60_000)).toThrow(PermanentFailure);
  }
  expect(probe([{ ...picture, width: 'N/A' }], { duration: 'N/A' })).toMatchObject({ video: undefined, durationMs: undefined });
});
