import { readFile, readdir } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATH, type SampleMedia, inspect, lavfi, sampleMedia, startsFast } from '../sample-media.ts';
import { findToolchain } from './ffmpeg/toolchain.ts';
import { type VideoRun, videosUnderTest } from './ffmpeg/videos-under-test.ts';

let samples: SampleMedia;
let videos: ReturnType<typeof videosUnderTest>;
const { picture, sound, h264 } = lavfi;
const AAC = ['-c:a', 'aac', '-b:a', '64k'];

beforeAll(async () => {
  samples = await sampleMedia();
  videos = videosUnderTest(samples, await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: PATH }));
});
afterAll(() => samples[Symbol.asyncDispose]());

const toMp4 = (file: string, run?: VideoRun) => videos.toMp4(file, run);
/** 320x240, 15 pictures a second. */
const small = (name: string, ...args: readonly string[]) => samples.make(name, [...picture('320x240', 15), ...args]);

test('a video that plays everywhere is only put into a new container', async () => {
  const { result, video, audio, format, poster, thumb, targets, percents, pcmMs } = await toMp4(await samples.clip());
  expect(result).toMatchObject({ road: 'remux', width: 640, height: 360, fps: 30, hasAudio: true, durationMs: 1_000, warnings: [] });
  expect(video).toMatchObject({ codec_name: 'h264', profile: 'Constrained Baseline', width: 640, height: 360, nb_frames: '30' });
  expect(audio).toMatchObject({ codec_name: 'aac' });
  expect(format.format_name).toContain('mp4');
  expect(poster).toMatchObject({ codec_name: 'mjpeg', width: 640, height: 360, color_range: 'pc' });
  expect(thumb).toMatchObject({ codec_name: 'mjpeg', width: 320, height: 180 });
  expect(result).toMatchObject({ poster: { width: 640, height: 360 }, thumb: { width: 320, height: 180 } });
  expect(pcmMs).toBeCloseTo(1_000, -2);
  expect(await startsFast(targets.video)).toBe(true);
  expect(percents.at(-1)).toBe(100);
});

test.each(['mkv', 'mov', 'm4v', '3gp'])('the same in %s is copied as well', async (extension) => {
  const { result } = await toMp4(await small(`same.${extension}`, ...sound(), ...h264, ...AAC));
  expect(result).toMatchObject({ road: 'remux', hasAudio: true, durationMs: expect.closeTo(1_000, -2) as number });
});

test('foreign sound beside fitting pictures is converted alone', async () => {
  const foreign = await samples.make('opus.mkv', ['-i', await samples.clip(), '-c:v', 'copy', '-c:a', 'libopus', '-b:a', '64k']);
  const { result, video, audio, pcmMs } = await toMp4(foreign);
  expect(result).toMatchObject({ road: 'audio_only', hasAudio: true, source: { audioCodec: 'opus' } });
  expect([video, audio]).toMatchObject([
    { codec_name: 'h264', profile: 'Constrained Baseline', nb_frames: '30' },
    { codec_name: 'aac', profile: 'LC' },
  ]);
  expect(pcmMs).toBeCloseTo(1_000, -2);
});

test('a large portrait video from a phone is turned upright, made smaller and forgets where it was taken', async () => {
  const portrait = await samples.portrait();
  expect(JSON.stringify(await inspect(portrait))).toContain('+51.5');
  const { result, video, format, poster, thumb, targets, folder } = await toMp4(portrait);
  expect(result).toMatchObject({
    road: 'transcode',
    width: 720,
    height: 960,
    source: { width: 1280, height: 960, rotation: 90, videoCodec: 'h264', audioCodec: 'aac' },
  });
  expect(video).toMatchObject({ codec_name: 'h264', profile: 'High', width: 720, height: 960, pix_fmt: 'yuv420p' });
  expect(video?.['side_data_list']).toBeUndefined();
  expect([poster, thumb]).toMatchObject([
    { width: 960, height: 1280 },
    { width: 240, height: 320 },
  ]);
  expect(JSON.stringify(format)).not.toMatch(/51\.5|creation_time/);
  expect(await startsFast(targets.video)).toBe(true);
  expect((await readdir(folder)).toSorted()).toEqual(['poster.jpg', 'thumb.jpg', 'video.mp4']);
});

test('a small turned video is copied with its turn, and its size is told as displayed', async () => {
  const turned = await samples.make('turned.mp4', ['-i', await samples.clip(), '-c', 'copy', '-metadata:s:v:0', 'rotate=90']);
  const { result, video, poster } = await toMp4(turned);
  expect(result).toMatchObject({ road: 'remux', width: 360, height: 640, source: { rotation: 270 } });
  expect(video).toMatchObject({ width: 640, height: 360, side_data_list: [expect.objectContaining({ rotation: 90 })] });
  expect(poster).toMatchObject({ width: 360, height: 640 });
});

test('a video without sound is no failure', async () => {
  const { result, video, audio, pcmMs } = await toMp4(await small('silent.webm', '-c:v', 'libvpx', '-b:v', '300k'));
  expect(result).toMatchObject({ road: 'transcode', hasAudio: false, warnings: [], source: { videoCodec: 'vp8', audioCodec: null } });
  expect(video).toMatchObject({ codec_name: 'h264' });
  expect([audio, pcmMs]).toEqual([undefined, 0]);
});

test('mono and stereo keep their channels, more become stereo', async () => {
  for (const [channels, expected] of [
    [1, 1],
    [2, 2],
    [6, 2],
  ]) {
    const { audio } = await toMp4(await small(`channels-${channels}.mkv`, ...sound(), ...h264, '-c:a', 'flac', '-ac', String(channels)));
    expect([channels, audio?.['channels']]).toEqual([channels, expected]);
  }
});

test('a live recording that does not know its length is measured while it is read', async () => {
  const live = await samples.make('live.webm', [
    ...[...picture('320x240', 15), ...sound(), '-c:v', 'libvpx', '-b:v', '300k'],
    ...['-c:a', 'libopus', '-f', 'webm', '-live', '1'],
  ]);
  const { result } = await toMp4(live);
  expect(result).toMatchObject({ road: 'transcode', durationMs: expect.closeTo(1_000, -2) as number, source: { durationMs: null } });
});

test('an uneven rate stays uneven, by copying and by encoding', async () => {
  const uneven = [...sound(), '-vf', "select='if(lt(t,0.5),1,not(mod(n,5)))'", '-fps_mode', 'vfr'];
  for (const args of [h264, ['-c:v', 'mpeg4']]) {
    const { video } = await toMp4(await small(`uneven-${args[1]}.mkv`, ...uneven, ...args, ...AAC));
    expect(Number(video?.['nb_frames'])).toBeOneOf([9, 10]);
  }
});

test('a screen recording is not blown up to the rate that ffmpeg guesses, nor a fast one passed on in full', async () => {
  // One tick of its clock is a millisecond, and its first pictures follow each other by one.
  const screen = await samples.make('screen.mkv', [
    ...['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=1000:duration=1', '-vf', "select='lt(n,3)+not(mod(n,250))'", '-fps_mode', 'vfr', '-c:v', 'mpeg4'],
  ]);
  const slow = await toMp4(screen);
  expect(Number(slow.video?.['nb_frames'])).toBeLessThan(8);
  const fast = await toMp4(await samples.make('fast.mp4', [...picture('320x240', 120, 0.5), ...h264]));
  expect(fast.result).toMatchObject({ road: 'transcode', source: { fps: 120 } });
  expect(Number(fast.video?.['nb_frames'])).toBe(30);
});

test.each([
  ['an odd size', '321x241', [], 320, 240],
  ['a large size', '1920x1080', [], 1280, 720],
  ['a tall size', '810x1920', [], 720, 1706],
  ['oblong pixels', '320x240', ['-vf', 'setsar=2'], 640, 240],
])('%s becomes an even one of square pixels', async (name, size, args, width, height) => {
  const { result, video } = await toMp4(await samples.make(`${name}.mkv`, [...picture(size, 10, 0.3), ...args, '-c:v', 'mpeg4', '-q:v', '2']));
  expect(result).toMatchObject({ road: 'transcode', width, height });
  expect(video).toMatchObject({ width, height, sample_aspect_ratio: '1:1' });
});

test('a smaller frame is asked for by a setting', async () => {
  const { result } = await toMp4(await samples.clip(), { settings: { shortSidePx: 180 } });
  expect(result).toMatchObject({ road: 'transcode', width: 320, height: 180 });
});

test.each([
  ['10-bit', ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p10le']],
  ['4:4:4', ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv444p']],
  ['RGB', ['-c:v', 'libx264rgb', '-preset', 'ultrafast']],
  ['interlaced', [...h264, '-flags', '+ilme+ildct', '-x264opts', 'tff=1']],
  ['MPEG-2', ['-c:v', 'mpeg2video']],
])('%s pictures, which phones and browsers do not play, are encoded', async (name, args) => {
  const { result, video } = await toMp4(await small(`${name.replace(/\W/g, '')}.mov`, ...args));
  expect(result).toMatchObject({ road: 'transcode', width: 320, height: 240, warnings: [] });
  expect(video).toMatchObject({ codec_name: 'h264', pix_fmt: 'yuv420p', field_order: 'progressive', color_space: 'bt709', color_range: 'tv' });
});

/** The colour in the middle of a file's first picture, as a viewer sees it. */
async function colourOf(file: string): Promise<number[]> {
  const args = ['-v', 'error', '-i', file, '-frames:v', '1', '-vf', 'crop=8:8,scale=1:1:flags=area', '-pix_fmt', 'rgb24', '-f', 'rawvideo', '-'];
  const { stdout } = await execa('ffmpeg', args, { encoding: 'buffer' });
  return [...stdout];
}

const near = (colour: readonly number[]) => colour.map((value) => expect.closeTo(value, -1.3) as number);

test.each([
  ['untagged', 'red', h264],
  ['of BT.601', 'lime', [...h264, '-vf', 'scale=out_color_matrix=bt601', '-colorspace', 'smpte170m', '-qp', '0']],
  ['of BT.709', 'lime', [...h264, '-vf', 'scale=out_color_matrix=bt709', '-colorspace', 'bt709', '-color_trc', 'bt709', '-color_primaries', 'bt709']],
  ['of full range', 'white', ['-c:v', 'mjpeg', '-q:v', '2']],
  ['of RGB', 'lime', ['-c:v', 'libx264rgb', '-preset', 'ultrafast']],
  ['of a GIF', 'lime', ['-f', 'gif']],
])('colours %s stay as they are', async (name, colour, args) => {
  const file = await samples.make(`${name.replaceAll(' ', '-')}.mov`, ['-f', 'lavfi', '-i', `color=${colour}:size=96x64:rate=10:duration=0.4`, ...args]);
  const wanted = near({ red: [254, 0, 0], lime: [0, 254, 0], white: [254, 254, 254] }[colour] ?? []);
  const encoded = await toMp4(file, { settings: { shortSidePx: 32 }, ...(name.endsWith('GIF') ? { format: 'gif' as const } : {}) });
  expect(encoded.result.road).toBe('transcode');
  expect([await colourOf(encoded.targets.video), await colourOf(encoded.targets.poster), await colourOf(encoded.targets.thumb)]).toEqual([
    wanted,
    wanted,
    wanted,
  ]);
});

test('what one can see through stands on white', async () => {
  const holes = ['-f', 'lavfi', '-i', 'color=black@0:size=64x48:rate=10:duration=0.3,format=rgba', '-c:v', 'png'];
  const { targets } = await toMp4(await samples.make('holes.mov', holes));
  const white = near([254, 254, 254]);
  expect([await colourOf(targets.video), await colourOf(targets.poster)]).toEqual([white, white]);
});

test.each([
  ['arib-std-b67', 'HLG of phones'],
  ['smpte2084', 'PQ'],
])('HDR (%s, %s) becomes ordinary video, and is told where it cannot', async (transfer) => {
  const params = `log-level=none:colorprim=bt2020:transfer=${transfer}:colormatrix=bt2020nc`;
  const hdr = await small(
    `${transfer}.mp4`,
    ...['-pix_fmt', 'yuv420p10le', '-c:v', 'libx265', '-preset', 'ultrafast', '-tag:v', 'hvc1', '-x265-params', params],
  );
  const { result, video } = await toMp4(hdr);
  expect(result).toMatchObject({ road: 'transcode', warnings: [], source: { hdr: true } });
  const ordinary = { codec_name: 'h264', pix_fmt: 'yuv420p', color_transfer: 'bt709', color_primaries: 'bt709', color_space: 'bt709', color_range: 'tv' };
  expect(video).toMatchObject(ordinary);
  const plain = await toMp4(hdr, { toolchain: { canTonemap: false } });
  expect([plain.codes, plain.video]).toMatchObject([['hdr_not_tonemapped'], ordinary]);
});

test('a mirrored picture is mirrored for good', async () => {
  // Red on the left; the matrix says that it is to be seen on the right.
  const args = [
    '-f',
    'lavfi',
    '-i',
    'color=red:size=48x64:rate=10:duration=0.3[red];color=blue:size=48x64:rate=10:duration=0.3[blue];[red][blue]hstack',
    ...h264,
  ];
  const plain = await readFile(await samples.make('sides.mov', args));
  const matrix = plain.indexOf('tkhd') + 4 + 40;
  plain.writeInt32BE(-65_536, matrix);
  const { result, targets } = await toMp4(await samples.write('mirrored.mov', plain));
  expect(result).toMatchObject({ road: 'transcode', width: 96, height: 64 });
  const left = await samples.make('left.png', ['-i', targets.video, '-vf', 'crop=40:40:4:4', '-frames:v', '1']);
  expect(await colourOf(left)).toEqual(near([0, 0, 254]));
});

test('an animated GIF becomes a silent video on white paper, also one of two short pictures', async () => {
  const gif = await samples.make('animated.gif', [...picture('100x75', 10)]);
  const { result, video, audio } = await toMp4(gif, { format: 'gif' });
  expect(result).toMatchObject({ road: 'transcode', width: 100, height: 74, hasAudio: false, warnings: [], durationMs: expect.closeTo(1_000, -2) as number });
  expect([video?.['nb_frames'], audio]).toEqual(['10', undefined]);
  const blink = await toMp4(await samples.make('blink.gif', [...picture('100x75', 50, 0.04)]), { format: 'gif' });
  expect(blink.video).toMatchObject({ codec_name: 'h264' });
});

test('stills are made alone where only they are missing', async () => {
  const { folder, poster, thumb } = await videos.toStills(await samples.portrait());
  expect([poster, thumb]).toMatchObject([
    { width: 960, height: 1280 },
    { width: 240, height: 320 },
  ]);
  expect((await readdir(folder)).toSorted()).toEqual(['poster.jpg', 'thumb.jpg']);
});

test('a clip of one picture is a video with a poster', async () => {
  const { poster, codes } = await toMp4(await samples.make('blink.mp4', [...picture('320x240', 10, 0.1), ...h264]));
  expect([poster, codes]).toMatchObject([{ width: 320, height: 240 }, []]);
});
