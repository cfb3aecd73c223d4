import { readFile } from 'node:fs/promises';
import { ascii, box, cut, editBox, noise, u32 } from './bytes.ts';
import type { CorpusTools } from './generate.ts';
import { PRIVATE_TAGS } from './private-data.ts';
import type { CorpusRow, DoneExpectation, Expectation } from './row.ts';

/** Every source has an end: one without it, and ffmpeg never comes back. */
export const PICTURE = ['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=15:duration=1'] as const;
export const SOUND = ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000:duration=1'] as const;
export const X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'] as const;
export const AAC = ['-c:a', 'aac', '-b:a', '64k'] as const;
const X265 = ['-x265-params', 'log-level=none'] as const;

/** A picture with sound; `args` choose the codecs. */
const both = (...args: readonly string[]) => [...PICTURE, ...SOUND, ...args];
const H264_AAC = both(...X264, ...AAC);

/** 320x240, a second, as copied or encoded. */
const whole: DoneExpectation = { width: 320, height: 240, durationMs: 1_000, toleranceMs: 120 };
const remux: Expectation = { done: { ...whole, road: 'remux', hasAudio: true } };
const audioOnly: Expectation = { done: { ...whole, road: 'audio_only', hasAudio: true } };
const transcode: Expectation = { done: { ...whole, road: 'transcode', hasAudio: true } };
const silent = (road: DoneExpectation['road'] & string): Expectation => ({ done: { ...whole, road, hasAudio: false } });

function made(name: string, expect: Expectation, extension: string, args: readonly string[]): CorpusRow {
  return { name, kind: 'video', make: ({ ffmpeg }) => ffmpeg(extension, args), expect };
}

function formed(name: string, expect: Expectation, make: (tools: CorpusTools) => Promise<Buffer>): CorpusRow {
  return { name, kind: 'video', make, expect };
}

/** Its index at the end, as ffmpeg writes it: boxes may grow without moving the pictures. */
const clip = ({ ffmpeg }: CorpusTools) => ffmpeg('mp4', H264_AAC);
const clipFile = ({ ffmpegFile }: CorpusTools) => ffmpegFile('mp4', H264_AAC);

const containers: readonly CorpusRow[] = [
  made('mp4, h264 + aac, index at its end', remux, 'mp4', H264_AAC),
  made('mp4, h264 + aac, index in front', remux, 'mp4', [...H264_AAC, '-movflags', '+faststart']),
  made('mov, h264 + aac', remux, 'mov', H264_AAC),
  made('mkv, h264 + aac', remux, 'mkv', H264_AAC),
  made('m4v, h264 + aac', remux, 'm4v', H264_AAC),
  made('3gp, h264 + aac', remux, '3gp', H264_AAC),
  made('mp4, in fragments', remux, 'mp4', [...H264_AAC, '-movflags', '+frag_keyframe+empty_moov+default_base_moof']),
  formed('mp4, in fragments, an index that tells no duration', { done: { ...whole, hasAudio: true } }, async ({ ffmpeg }) => {
    const bytes = await ffmpeg('mp4', [...H264_AAC, '-movflags', '+frag_every_frame+empty_moov+default_base_moof+skip_trailer']);
    return bytes;
  }),
];

const h264: readonly CorpusRow[] = [
  made('h264 baseline', remux, 'mp4', both(...X264, '-profile:v', 'baseline', ...AAC)),
  made('h264 main', remux, 'mp4', both('-c:v', 'libx264', '-preset', 'superfast', '-pix_fmt', 'yuv420p', '-profile:v', 'main', ...AAC)),
  made('h264 high, with B-frames', remux, 'mp4', both('-c:v', 'libx264', '-preset', 'faster', '-bf', '3', '-pix_fmt', 'yuv420p', '-profile:v', 'high', ...AAC)),
  made('h264 high 10', transcode, 'mp4', both(...X264, '-pix_fmt', 'yuv420p10le', ...AAC)),
  made('h264 4:2:2', transcode, 'mp4', both(...X264, '-pix_fmt', 'yuv422p', ...AAC)),
  made('h264 4:4:4', transcode, 'mp4', both(...X264, '-pix_fmt', 'yuv444p', ...AAC)),
  made('h264 grey', { done: { ...whole, hasAudio: true } }, 'mp4', both(...X264, '-pix_fmt', 'gray', ...AAC)),
  made('h264, full range', { done: { ...whole, hasAudio: true } }, 'mp4', both(...X264, '-pix_fmt', 'yuvj420p', ...AAC)),
  made('h264, interlaced', { done: { ...whole, hasAudio: true } }, 'mp4', both(...X264, '-flags', '+ilme+ildct', ...AAC)),
  made(
    'h264, more bits than are passed on',
    { done: { width: 320, height: 240, road: 'transcode' } },
    'mp4',
    both('-vf', 'noise=alls=100:allf=t+u', '-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-qp', '1', '-t', '0.4', ...AAC),
  ),
  made('h264, larger than 720 lines', { done: { width: 1_280, height: 720, road: 'transcode' } }, 'mp4', [
    ...['-f', 'lavfi', '-i', 'testsrc2=size=1920x1080:rate=10:duration=0.4', ...X264],
  ]),
  made('h264, one picture', { done: { width: 320, height: 240, mayWarn: ['poster_fallback'] } }, 'mp4', [...PICTURE, ...X264, '-frames:v', '1']),
];

const codecs: readonly CorpusRow[] = [
  made('mp4, hevc 8 bit', transcode, 'mp4', both('-c:v', 'libx265', '-preset', 'ultrafast', '-tag:v', 'hvc1', ...X265, ...AAC)),
  made('mov, hevc 10 bit', transcode, 'mov', both('-c:v', 'libx265', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p10le', '-tag:v', 'hvc1', ...X265, ...AAC)),
  made('mov, hevc HDR of phones (HLG)', transcode, 'mov', both(...hdr('arib-std-b67'), ...AAC)),
  made('mp4, hevc HDR10 (PQ)', transcode, 'mp4', both(...hdr('smpte2084'), ...AAC)),
  made('webm, vp8 + vorbis', transcode, 'webm', both('-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-c:a', 'libvorbis')),
  made('webm, vp9 + opus', transcode, 'webm', both('-c:v', 'libvpx-vp9', '-deadline', 'realtime', '-cpu-used', '8', '-c:a', 'libopus')),
  made('webm, vp9, see-through', silent('transcode'), 'webm', [
    ...PICTURE,
    '-c:v',
    'libvpx-vp9',
    '-pix_fmt',
    'yuva420p',
    '-deadline',
    'realtime',
    '-cpu-used',
    '8',
  ]),
  made('webm, of a browser: no duration', transcode, 'webm', both('-c:v', 'libvpx', '-deadline', 'realtime', '-c:a', 'libopus', '-live', '1')),
  made('mkv, h264 + opus of a browser: no duration', { done: { ...whole, hasAudio: true } }, 'mkv', both(...X264, '-c:a', 'libopus', '-live', '1')),
  made('webm, av1 + opus', transcode, 'webm', both('-c:v', 'libaom-av1', '-cpu-used', '8', '-crf', '50', '-c:a', 'libopus')),
  made('mp4, av1 + aac', transcode, 'mp4', both('-c:v', 'libaom-av1', '-cpu-used', '8', '-crf', '50', ...AAC)),
  made('mp4, mpeg4', transcode, 'mp4', both('-c:v', 'mpeg4', ...AAC)),
  made('mov, mjpeg of old cameras', transcode, 'mov', both('-c:v', 'mjpeg', '-c:a', 'pcm_u8')),
  made('mov, prores', transcode, 'mov', both('-c:v', 'prores_ks', '-profile:v', '0', '-c:a', 'pcm_s16le')),
  made('3gp, h263', { done: { width: 176, height: 144, durationMs: 1_000, toleranceMs: 120, road: 'transcode' } }, '3gp', [
    ...['-f', 'lavfi', '-i', 'testsrc2=size=176x144:rate=15:duration=1', ...SOUND, '-c:v', 'h263', ...AAC],
  ]),
];

function hdr(transfer: string): string[] {
  const colour = ['-color_primaries', 'bt2020', '-color_trc', transfer, '-colorspace', 'bt2020nc'];
  const params = `log-level=none:colorprim=bt2020:transfer=${transfer}:colormatrix=bt2020nc`;
  return ['-c:v', 'libx265', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p10le', '-tag:v', 'hvc1', ...colour, '-x265-params', params];
}

const sounds: readonly CorpusRow[] = [
  made('no sound', silent('remux'), 'mp4', [...PICTURE, ...X264]),
  made('mp4, h264 + opus', audioOnly, 'mp4', both(...X264, '-c:a', 'libopus')),
  made('mp4, h264 + mp3', audioOnly, 'mp4', both(...X264, '-c:a', 'libmp3lame')),
  made('mp4, h264 + ac3', audioOnly, 'mp4', both(...X264, '-c:a', 'ac3')),
  made('mp4, h264 + flac', audioOnly, 'mp4', both(...X264, '-c:a', 'flac', '-strict', '-2')),
  made('mov, h264 + pcm', audioOnly, 'mov', both(...X264, '-c:a', 'pcm_s16le')),
  made('mov, h264 + alac', audioOnly, 'mov', both(...X264, '-c:a', 'alac')),
  made('mkv, h264 + vorbis', audioOnly, 'mkv', both(...X264, '-c:a', 'libvorbis')),
  // Six channels of AAC play in browsers as well; both ways are right.
  made('mp4, h264 + aac 5.1', { done: { ...whole, hasAudio: true } }, 'mp4', both(...X264, ...AAC, '-ac', '6')),
  made('several sound tracks', remux, 'mp4', both('-map', '0:v', '-map', '1:a', '-map', '1:a', '-map', '1:a', ...X264, ...AAC)),
  formed('a sound track without a single packet', { done: { ...whole, hasAudio: false, mayWarn: ['audio_dropped', 'waveform_missing'] } }, async (tools) =>
    withoutSamples(await tools.ffmpeg('mp4', both('-map', '1:a', '-map', '0:v', ...X264, ...AAC))),
  ),
  formed('a sound track of noise', { done: { ...whole, mayWarn: ['audio_dropped', 'waveform_missing'] } }, async (tools) => brokenSound(await clip(tools))),
];

/** The first track's tables say that it has no samples. */
function withoutSamples(mp4: Buffer): Buffer {
  const none = box('stts', u32(0), u32(0));
  const stbl = ['moov', 'trak', 'mdia', 'minf', 'stbl'];
  const emptied = editBox(mp4, [...stbl, 'stsz'], () => Buffer.concat([u32(0), u32(0), u32(0)]));
  return [
    ['stts', none],
    ['stsc', box('stsc', u32(0), u32(0))],
    ['stco', box('stco', u32(0), u32(0))],
  ].reduce<Buffer>((bytes, [type, empty]) => editBox(bytes, [...stbl, String(type)], () => Buffer.from(empty as Buffer).subarray(8)), emptied);
}

/** The sound's own codes are overwritten; the pictures, which come first in each part, are left. */
function brokenSound(mp4: Buffer): Buffer {
  const start = mp4.indexOf('mdat') + 4;
  const moov = mp4.indexOf('moov');
  const copy = Buffer.from(mp4);
  noise(1_500, 7).copy(copy, Math.floor(start + (moov - start) * 0.9));
  return copy;
}

const shapes: readonly CorpusRow[] = [
  ...[90, 180, 270].map((turn) => {
    const [width, height] = turn === 180 ? [320, 240] : [240, 320];
    const expect: Expectation = { done: { ...whole, width, height, road: 'remux', hasAudio: true } };
    return formed(`turned by ${turn} degrees`, expect, async (tools) =>
      tools.ffmpeg('mp4', ['-i', await clipFile(tools), '-c', 'copy', '-metadata:s:v:0', `rotate=${turn}`]),
    );
  }),
  formed('hevc, turned by 90 degrees', { done: { ...whole, width: 240, height: 320, road: 'transcode' } }, async ({ ffmpeg, ffmpegFile }) => {
    const lying = await ffmpegFile('mp4', both('-c:v', 'libx265', '-preset', 'ultrafast', '-tag:v', 'hvc1', ...X265, ...AAC));
    return ffmpeg('mov', ['-i', lying, '-c', 'copy', '-tag:v', 'hvc1', '-metadata:s:v:0', 'rotate=90']);
  }),
  made('portrait', { done: { width: 180, height: 320, road: 'remux' } }, 'mp4', ['-f', 'lavfi', '-i', 'testsrc2=size=180x320:rate=15:duration=1', ...X264]),
  made('odd width and height', { done: { width: 320, height: 240, road: 'transcode' } }, 'webm', [
    ...['-f', 'lavfi', '-i', 'testsrc2=size=321x241:rate=15:duration=1', '-c:v', 'libvpx', '-deadline', 'realtime'],
  ]),
  made('a picture of 2x2', { done: { width: 2, height: 2 } }, 'mkv', ['-f', 'lavfi', '-i', 'testsrc2=size=2x2:rate=15:duration=0.5', '-c:v', 'mpeg4']),
  made('a strip of 640x2', 'typed', 'mkv', ['-f', 'lavfi', '-i', 'color=red:size=640x2:rate=15:duration=0.5', '-c:v', 'ffv1']),
  made('oblong pixels', { done: { width: 640, height: 240, road: 'transcode' } }, 'mp4', both('-vf', 'setsar=2', ...X264, ...AAC)),
];

const times: readonly CorpusRow[] = [
  made('h264, uneven rate', { done: { ...whole, road: 'remux', toleranceMs: 300 } }, 'mkv', both('-vf', VFR(), '-fps_mode', 'vfr', ...X264, ...AAC)),
  made(
    'vp8, uneven rate',
    { done: { ...whole, road: 'transcode', toleranceMs: 300 } },
    'webm',
    both('-vf', VFR(), '-fps_mode', 'vfr', '-c:v', 'libvpx', '-deadline', 'realtime', '-c:a', 'libopus'),
  ),
  made('120 pictures a second', { done: { width: 320, height: 240, durationMs: 500 } }, 'mp4', [
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=320x240:rate=120:duration=0.5',
    ...X264,
  ]),
  made('one picture in two seconds', { done: { width: 320, height: 240 } }, 'mp4', ['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=0.5:duration=4', ...X264]),
  formed('starts before zero', { done: { ...whole, toleranceMs: 700, mayWarn: ['poster_fallback'] } }, async (tools) =>
    tools.ffmpeg('mkv', ['-i', await clipFile(tools), '-c', 'copy', '-avoid_negative_ts', 'disabled', '-output_ts_offset', '-0.5']),
  ),
  // Matroska counts the hour as part of its duration: too long, or a second, both are honest (E-14).
  formed('starts after an hour', 'typed', async (tools) => tools.ffmpeg('mkv', ['-i', await clipFile(tools), '-c', 'copy', '-output_ts_offset', '3600'])),
  formed('an edit list that begins in the middle', { done: { width: 320, height: 240, durationMs: 600, toleranceMs: 450 } }, async (tools) =>
    tools.ffmpeg('mp4', ['-ss', '0.4', '-i', await clipFile(tools), '-c', 'copy']),
  ),
  formed('its sound starts half a second late', { done: { width: 320, height: 240, durationMs: 1_500, toleranceMs: 200, hasAudio: true } }, async (tools) => {
    const source = await clipFile(tools);
    return tools.ffmpeg('mp4', ['-i', source, '-itsoffset', '0.5', '-i', source, '-map', '0:v', '-map', '1:a', '-c', 'copy']);
  }),
];

function VFR(): string {
  return "select='if(lt(t,0.5),1,not(mod(n,5)))'";
}

const extras: readonly CorpusRow[] = [
  made('with place, device, person, date', remux, 'mov', [...H264_AAC, ...PRIVATE_TAGS, '-movflags', '+use_metadata_tags']),
  made('with the time code of a camera', remux, 'mov', [...H264_AAC, '-timecode', '01:02:03:04']),
  formed('with subtitles and chapters', remux, async ({ ffmpeg, file }) => {
    const lines = await file('srt', ascii('1\n00:00:00,000 --> 00:00:00,900\ncanary-of-a-note\n'));
    const chapters = await file('txt', ascii(';FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=canary-of-a-note\n'));
    return ffmpeg('mkv', [
      ...PICTURE,
      ...SOUND,
      '-i',
      lines,
      '-f',
      'ffmetadata',
      '-i',
      chapters,
      '-map',
      '0',
      '-map',
      '1',
      '-map',
      '2',
      '-map_chapters',
      '3',
      ...X264,
      ...AAC,
    ]);
  }),
  formed('with a cover picture in front', remux, async (tools) => withCover(tools, await clipFile(tools), ['-map', '1', '-map', '0'])),
  formed('with a font attached', remux, async ({ ffmpeg, file }) => {
    const font = await file('ttf', noise(4_000));
    return ffmpeg('mkv', [...H264_AAC, '-attach', font, '-metadata:s:t', 'mimetype=application/x-truetype-font']);
  }),
  made('two pictures, the first is the main one', remux, 'mkv', [
    ...[...PICTURE, '-f', 'lavfi', '-i', 'testsrc2=size=160x120:rate=5:duration=1', ...SOUND, '-map', '0', '-map', '1', '-map', '2'],
    ...[...X264, ...AAC, '-disposition:v:0', 'default', '-disposition:v:1', '0'],
  ]),
];

/** A file with a picture for its cover. */
export async function withCover({ ffmpeg, ffmpegFile }: CorpusTools, source: string, maps: readonly string[], extension = 'mp4'): Promise<Buffer> {
  const cover = await ffmpegFile('jpg', ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=1:duration=1', '-frames:v', '1']);
  return ffmpeg(extension, ['-i', source, '-i', cover, ...maps, '-c', 'copy', '-disposition:v:0', 'attached_pic']);
}

const incomplete: readonly CorpusRow[] = [
  formed('mp4, cut before its index', { failed: 'corrupt' }, async (tools) => cut(await clip(tools), 0.6)),
  formed('mp4, cut in its index', { failed: 'corrupt' }, async (tools) => cut(await clip(tools), 0.97)),
  formed('mp4, only its first box', { failed: 'corrupt' }, async (tools) => (await clip(tools)).subarray(0, 32)),
  formed(
    'mp4, index in front, cut at 60 %',
    { done: { width: 320, height: 240, warnings: ['truncated'], mayWarn: ['audio_dropped', 'poster_fallback'] } },
    async ({ ffmpeg }) => cut(await ffmpeg('mp4', [...H264_AAC, '-movflags', '+faststart']), 0.6),
  ),
  formed('mp4, index in front, no pictures behind', { failed: ['corrupt', 'empty'] }, async ({ ffmpeg }) => {
    const bytes = await ffmpeg('mp4', [...H264_AAC, '-movflags', '+faststart']);
    return bytes.subarray(0, bytes.indexOf('mdat') + 8);
  }),
  formed('mkv, cut at 60 %', { done: { width: 320, height: 240, warnings: ['truncated'], mayWarn: ['poster_fallback'] } }, async ({ ffmpeg }) =>
    cut(await ffmpeg('mkv', H264_AAC), 0.6),
  ),
  formed('webm, cut at 60 %', { done: { width: 320, height: 240, warnings: ['truncated'], mayWarn: ['poster_fallback'] } }, async ({ ffmpeg }) =>
    cut(await ffmpeg('webm', both('-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-c:a', 'libvorbis')), 0.6),
  ),
  formed('webm, only its header', { failed: ['corrupt', 'empty', 'type_mismatch'] }, async ({ ffmpeg }) =>
    (await ffmpeg('webm', both('-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-c:a', 'libvorbis'))).subarray(0, 100),
  ),
  formed('mp4, not one picture', { failed: ['empty', 'corrupt', 'type_mismatch'] }, async (tools) =>
    withoutSamples(await tools.ffmpeg('mp4', [...PICTURE, ...X264, '-bf', '0', '-g', '1'])),
  ),
  formed('changes its size in the middle', { done: { width: 320, height: 240 } }, async ({ ffmpegFile, ffmpeg, file }) => {
    const large = await ffmpegFile('h264', [...PICTURE, ...X264]);
    const small = await ffmpegFile('h264', ['-f', 'lavfi', '-i', 'testsrc2=size=160x120:rate=15:duration=1', ...X264]);
    const joined = await file('h264', Buffer.concat([await readFile(large), await readFile(small)]));
    return ffmpeg('mp4', ['-r', '15', '-f', 'h264', '-i', joined, '-c', 'copy']);
  }),
];

/** Videos as people send them, and as networks leave them. */
export const videos: readonly CorpusRow[] = [...containers, ...h264, ...codecs, ...sounds, ...shapes, ...times, ...extras, ...incomplete];
