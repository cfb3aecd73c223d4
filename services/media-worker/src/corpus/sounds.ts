import { ascii, cut, id3, noise, wav } from './bytes.ts';
import type { CorpusTools } from './generate.ts';
import { PRIVATE, PRIVATE_TAGS } from './private-data.ts';
import { type CorpusRow, type DoneExpectation, type Expectation, REFUSED } from './row.ts';
import { AAC, PICTURE, SOUND, X264, withCover } from './videos.ts';

/** A second of a tone. Coded sound begins and ends with whole blocks: up to 60 ms more or less. */
const second: DoneExpectation = { durationMs: 1_000, toleranceMs: 70, peaks: 'some' };
const done: Expectation = { done: second };

function made(name: string, extension: string, args: readonly string[], expect: Expectation = done): CorpusRow {
  return { name, kind: 'audio', make: ({ ffmpeg }) => ffmpeg(extension, args), expect };
}

function formed(name: string, expect: Expectation, make: (tools: CorpusTools) => Promise<Buffer> | Buffer): CorpusRow {
  return { name, kind: 'audio', make: async (tools) => make(tools), expect };
}

/** From an expression of ffmpeg's, a second of 48 kHz if not said otherwise. */
const source = (expression: string, durationSeconds = 1, rate = 48_000) => ['-f', 'lavfi', '-i', `aevalsrc=${expression}:s=${rate}:d=${durationSeconds}`];

/** A note of so many frames of 20 ms, 12.2 kbit/s: no free encoder is everywhere, and the decoder makes some sound of any bits. */
export function amr(frames: number): Buffer {
  const frame = (index: number) => Buffer.concat([Buffer.from([0x3c]), noise(31, index + 1)]);
  return Buffer.concat([ascii('#!AMR\n'), ...Array.from({ length: frames }, (_, index) => frame(index))]);
}

/** The wide-band kind, 6.6 kbit/s. */
function amrWide(frames: number): Buffer {
  const frame = (index: number) => Buffer.concat([Buffer.from([0x04]), noise(17, index + 1)]);
  return Buffer.concat([ascii('#!AMR-WB\n'), ...Array.from({ length: frames }, (_, index) => frame(index))]);
}

const containers: readonly CorpusRow[] = [
  made('ogg, opus', 'ogg', [...SOUND, '-c:a', 'libopus', '-b:a', '24k']),
  made('ogg, opus, stereo', 'ogg', [...SOUND, '-ac', '2', '-c:a', 'libopus']),
  made('ogg, opus, 60 ms blocks', 'opus', [...SOUND, '-c:a', 'libopus', '-frame_duration', '60']),
  made('ogg, vorbis', 'ogg', [...SOUND, '-c:a', 'libvorbis']),
  made('ogg, flac', 'oga', [...SOUND, '-c:a', 'flac'], { done: second }),
  made('webm, opus', 'webm', [...SOUND, '-c:a', 'libopus']),
  made('webm, opus, of a browser: no duration', 'webm', [...SOUND, '-c:a', 'libopus', '-live', '1']),
  made('mka, aac', 'mka', [...SOUND, ...AAC]),
  made('m4a, aac', 'm4a', [...SOUND, ...AAC]),
  made('m4a, aac, index in front', 'm4a', [...SOUND, ...AAC, '-movflags', '+faststart']),
  made('m4a, aac, in fragments', 'm4a', [...SOUND, ...AAC, '-movflags', '+frag_keyframe+empty_moov', '-frag_duration', '200000']),
  made('m4a, alac', 'm4a', [...SOUND, '-c:a', 'alac']),
  made('aac, adts', 'aac', [...SOUND, ...AAC]),
  made('3gp, aac', '3gp', [...SOUND, ...AAC]),
  made('mp3, constant rate', 'mp3', [...SOUND, '-c:a', 'libmp3lame', '-b:a', '64k']),
  made('mp3, varying rate', 'mp3', [...SOUND, '-c:a', 'libmp3lame', '-q:a', '5']),
  made('mp3, no tag, no information', 'mp3', [...SOUND, '-c:a', 'libmp3lame', '-write_xing', '0', '-id3v2_version', '0']),
  made('mp3, 8 kHz', 'mp3', [...SOUND, '-ar', '8000', '-c:a', 'libmp3lame'], { done: { ...second, toleranceMs: 160 } }),
  made('flac', 'flac', [...SOUND, '-c:a', 'flac']),
  made('flac, 24 bit, 96 kHz', 'flac', [...SOUND, '-ar', '96000', '-sample_fmt', 's32', '-c:a', 'flac']),
  made('caf, pcm', 'caf', [...SOUND, '-c:a', 'pcm_s16be']),
  made('caf, alac', 'caf', [...SOUND, '-c:a', 'alac']),
  made('wma', 'wma', [...SOUND, '-c:a', 'wmav2'], { done: { ...second, toleranceMs: 150 } }),
  formed('amr, narrow band', done, () => amr(50)),
  formed('amr, wide band', done, () => amrWide(50)),
  formed('3gp, amr', done, async ({ file, ffmpeg }) => ffmpeg('3gp', ['-f', 'amr', '-i', await file('amr', amr(50)), '-c', 'copy'])),
];

const wavs: readonly CorpusRow[] = [
  ...['pcm_u8', 'pcm_s16le', 'pcm_s24le', 'pcm_s32le', 'pcm_f32le', 'pcm_f64le', 'pcm_alaw', 'pcm_mulaw'].map((codec) =>
    made(`wav, ${codec}`, 'wav', [...SOUND, '-ar', '16000', '-c:a', codec]),
  ),
  made('wav, adpcm', 'wav', [...SOUND, '-ar', '16000', '-c:a', 'adpcm_ms']),
  made('wav, 5.1', 'wav', [...SOUND, '-ac', '6']),
  made('wav, 192 kHz', 'wav', [...SOUND, '-ar', '192000']),
  formed('wav, claims 4 GB, as written to a pipe', { done: { ...second, mayWarn: ['truncated'] } }, () =>
    wav(tone(16_000), { dataSize: 0xffffffff, riffSize: 0xffffffff }),
  ),
  formed('wav, cut at half', { done: { durationMs: 500, mayWarn: ['truncated'] } }, () => wav(tone(16_000).subarray(0, 16_000), { dataSize: 32_000 })),
  formed('wav, not one sample', { failed: ['empty', 'corrupt'] }, () => wav(Buffer.alloc(0))),
  formed('wav, only its header', { failed: ['empty', 'corrupt'] }, () => wav(Buffer.alloc(0)).subarray(0, 36)),
];

/** 16 bit, 16 kHz, loud. */
function tone(samples: number): Buffer {
  const bytes = Buffer.alloc(samples * 2);
  for (let index = 0; index < samples; index++) bytes.writeInt16LE(Math.round(Math.sin(index / 6) * 20_000), index * 2);
  return bytes;
}

/** What a phone sends of AMR while nobody speaks. */
function comfortNoise(frames: number): Buffer {
  return Buffer.concat(Array.from({ length: frames }, () => Buffer.from([0x44, 1, 2, 3, 4, 5])));
}

const contents: readonly CorpusRow[] = [
  made('silence', 'ogg', [...source('0'), '-c:a', 'libopus'], { done: { ...second, peaks: 'silent' } }),
  made('clipped', 'wav', source('sgn(sin(2*PI*200*t))'), { done: { ...second, peaks: 'full' } }),
  made('direct current', 'wav', source('1'), { done: { ...second, peaks: 'full' } }),
  made('stereo, one side silent', 'ogg', [...source('0.5*sin(2*PI*300*t)|0'), '-c:a', 'libopus']),
  made('stereo, the sides cancel each other', 'wav', source('0.5*sin(2*PI*300*t)|-0.5*sin(2*PI*300*t)'), { done: { durationMs: 1_000 } }),
  made('m4a, 5.1', 'm4a', [...SOUND, '-ac', '6', ...AAC]),
  made('ogg, opus 5.1', 'ogg', [...SOUND, '-ac', '6', '-c:a', 'libopus']),
  ...[5, 20, 100].map((durationMs) =>
    made(`${durationMs} ms`, 'wav', source('0.5*sin(2*PI*440*t)', durationMs / 1_000), { done: { durationMs, toleranceMs: 5 } }),
  ),
  formed('one sample', { done: { durationMs: 0, toleranceMs: 1 } }, () => wav(tone(1).fill(0x22), { rate: 8_000 })),
  made('longer than is accepted', 'ogg', [...source('0.3*sin(2*PI*440*t)', 70, 8_000), '-c:a', 'libopus', '-b:a', '6k'], { failed: 'too_long' }),
  made('longer than is accepted, without a duration', 'webm', [...source('0.3*sin(2*PI*440*t)', 70, 8_000), '-c:a', 'libopus', '-b:a', '6k', '-live', '1'], {
    failed: 'too_long',
  }),
  formed('amr, only its name', { failed: ['empty', 'corrupt'] }, () => ascii('#!AMR\n')),
  // ffmpeg's decoder does not know the frames that fill pauses, and leaves them out.
  formed('amr, comfort noise between speech', { done: { mayWarn: ['truncated'] } }, () => Buffer.concat([amr(20), comfortNoise(10), amr(20).subarray(6)])),
  formed('amr, comfort noise only', { failed: ['empty', 'corrupt', 'unsupported'] }, () => Buffer.concat([ascii('#!AMR\n'), comfortNoise(50)])),
];

const tags: readonly CorpusRow[] = [
  made('ogg, with place, device, person', 'ogg', [...SOUND, '-c:a', 'libopus', ...PRIVATE_TAGS]),
  made('m4a, with place, device, person', 'm4a', [...SOUND, ...AAC, ...PRIVATE_TAGS]),
  made('mp3, with both kinds of tags', 'mp3', [...SOUND, '-c:a', 'libmp3lame', ...PRIVATE_TAGS, '-write_id3v1', '1']),
  formed('mp3, with a cover', done, async (tools) =>
    withCover(tools, await tools.ffmpegFile('mp3', [...SOUND, '-c:a', 'libmp3lame']), ['-map', '0:a', '-map', '1'], 'mp3'),
  ),
  formed('m4a, with a cover', done, async (tools) => withCover(tools, await tools.ffmpegFile('m4a', [...SOUND, ...AAC]), ['-map', '0:a', '-map', '1'])),
  formed('flac, with a cover', done, async (tools) =>
    withCover(tools, await tools.ffmpegFile('flac', [...SOUND, '-c:a', 'flac']), ['-map', '0:a', '-map', '1'], 'flac'),
  ),
  formed('mp3, a tag larger than what is sniffed', done, async ({ ffmpeg }) =>
    Buffer.concat([id3([{ id: 'PRIV', content: noise(60_000) }]), await ffmpeg('mp3', [...SOUND, '-c:a', 'libmp3lame', '-id3v2_version', '0'])]),
  ),
  formed('mp3, only a tag', { failed: ['empty', 'corrupt', 'type_mismatch'] }, () => id3([{ id: 'TPE1', content: ascii(`\0${PRIVATE.person}`) }])),
];

const incomplete: readonly CorpusRow[] = [
  formed('ogg, cut at half', { done: { mayWarn: ['truncated'] } }, async ({ ffmpeg }) =>
    cut(await ffmpeg('ogg', [...SOUND, '-c:a', 'libopus', '-page_duration', '100000']), 0.5),
  ),
  formed('ogg, only its headers', { failed: ['empty', 'corrupt'] }, async ({ ffmpeg }) => {
    const bytes = await ffmpeg('ogg', [...SOUND, '-c:a', 'libopus']);
    return bytes.subarray(0, bytes.indexOf('OggS', bytes.indexOf('OpusTags')));
  }),
  formed('mp3, cut at half', { done: { durationMs: 500, toleranceMs: 80, mayWarn: ['truncated'] } }, async ({ ffmpeg }) =>
    cut(await ffmpeg('mp3', [...SOUND, '-c:a', 'libmp3lame', '-b:a', '64k']), 0.5),
  ),
  formed('webm, opus, cut at half', { done: { mayWarn: ['truncated'] } }, async ({ ffmpeg }) =>
    cut(await ffmpeg('webm', [...SOUND, '-c:a', 'libopus', '-cluster_time_limit', '100']), 0.5),
  ),
  formed('m4a, cut before its index', { failed: 'corrupt' }, async ({ ffmpeg }) => cut(await ffmpeg('m4a', [...SOUND, ...AAC]), 0.5)),
  formed('m4a, index in front, cut at 70 %', { done: { mayWarn: ['truncated'] } }, async ({ ffmpeg }) =>
    cut(await ffmpeg('m4a', [...SOUND, ...AAC, '-movflags', '+faststart']), 0.7),
  ),
  formed('flac, cut at half', { done: { mayWarn: ['truncated'] } }, async ({ ffmpeg }) =>
    cut(await ffmpeg('flac', [...SOUND, '-af', 'volume=0.5', '-c:a', 'flac']), 0.5),
  ),
  formed('amr, cut within a block', { done: { durationMs: 400, toleranceMs: 40, mayWarn: ['truncated'] } }, () => amr(40).subarray(0, 6 + 20 * 32 + 9)),
  made('m4a, not one packet', 'm4a', [...SOUND, '-t', '0', ...AAC], { failed: ['empty', 'corrupt', 'type_mismatch'] }),
];

const others: readonly CorpusRow[] = [
  made('the sound of a video', 'mp4', [...PICTURE, ...SOUND, ...X264, ...AAC]),
  made('a video without sound', 'mp4', [...PICTURE, ...X264], { failed: ['type_mismatch', 'empty'] }),
  made('ogg, speex', 'ogg', [...SOUND, '-ar', '16000', '-c:a', 'libspeex'], 'typed'),
  made('mp3 of layer 2', 'mp2', [...SOUND, '-c:a', 'mp2'], 'typed'),
  ...['aiff', 'au', 'ac3', 'w64', 'wv', 'tta', 'voc'].map((extension) => made(`not accepted: ${extension}`, extension, SOUND, REFUSED)),
];

/** Sounds as people send them, and as networks leave them. */
export const sounds: readonly CorpusRow[] = [...containers, ...wavs, ...contents, ...tags, ...incomplete, ...others];
