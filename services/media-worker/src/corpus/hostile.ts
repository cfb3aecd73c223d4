import { readFile } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';
import { ascii, box, ebml, ebmlHeader, editBox, frameHeaderAt, id3, le32, noise, patch, u16, u32, wav } from './bytes.ts';
import type { CorpusTools } from './generate.ts';
import { type CorpusRow, type Expectation, REFUSED } from './row.ts';
import { AAC, PICTURE, SOUND, X264 } from './videos.ts';

type Make = (tools: CorpusTools) => Promise<Buffer> | Buffer;

function row(kind: CorpusRow['kind'], name: string, expect: Expectation, make: Make): CorpusRow {
  return { name, kind, make: async (tools) => make(tools), expect };
}

const corrupt: Expectation = { failed: 'corrupt' };
const tooLarge: Expectation = { failed: 'too_large' };
// A decoder that refuses the size does not say which it was.
const pixelBomb: Expectation = { failed: ['too_large', 'corrupt'] };
const refusedOrCorrupt: Expectation = { failed: ['unsupported', 'type_mismatch', 'corrupt', 'empty'] };

const FTYP = box('ftyp', ascii('isom\0\0\x02\0isomiso2mp41'));
const ID3 = id3([{ id: 'TIT2', content: ascii('\0x') }]);

/** Texts that make a player open other files and addresses (E-10). */
const SCRIPTS: Readonly<Record<string, (url: string) => string>> = {
  'an HLS playlist': (url) =>
    `#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n${url}/1.ts\n#EXTINF:10,\nfile:///etc/passwd\n#EXTINF:10,\nconcat:${url}/2|/etc/passwd\n#EXT-X-ENDLIST\n`,
  'an HLS playlist of byte ranges': (url) =>
    `#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n#EXT-X-BYTERANGE:10@0\n${url}/a.mp4\n#EXT-X-KEY:METHOD=AES-128,URI="${url}/key"\n#EXT-X-ENDLIST\n`,
  'a list for concat': (url) => `ffconcat version 1.0\nfile '${url}/1.mp4'\nfile '/etc/passwd'\nfile 'concat:/etc/hosts'\n`,
  'a DASH manifest': (url) =>
    `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT9S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>${url}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>`,
  'a session description': (url) =>
    `v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:${url}\nm=video ${new URL(url).port} RTP/AVP 96\na=rtpmap:96 H264/90000\n`,
  'a redirect of RTSP': (url) => `RTSPtextRTSP://${new URL(url).host}/canary\nrtsp://${new URL(url).host}/canary\n`,
  'an ASX list': (url) => `<ASX version="3.0"><ENTRY><REF HREF="${url}/a.wma"/></ENTRY></ASX>`,
  'a PLS list': (url) => `[playlist]\nFile1=${url}/a.mp3\nNumberOfEntries=1\n`,
  'a list of pictures': () => '%d.jpg\n0000.jpg\n/etc/%s\n',
};

const scripts: readonly CorpusRow[] = Object.entries(SCRIPTS).flatMap(([name, text]) => [
  row('video', `${name}, sent as a video (E-10)`, REFUSED, ({ canaryUrl }) => ascii(text(canaryUrl))),
  row('audio', `${name}, behind a tag of MP3 (E-10)`, refusedOrCorrupt, ({ canaryUrl }) => Buffer.concat([ID3, ascii(text(canaryUrl).repeat(20))])),
  row('video', `${name}, behind a box of MP4 (E-10)`, corrupt, ({ canaryUrl }) => Buffer.concat([FTYP, ascii(text(canaryUrl))])),
]);

const clip = ({ ffmpeg }: CorpusTools) => ffmpeg('mov', [...PICTURE, ...SOUND, ...X264, ...AAC]);
const STBL = ['moov', 'trak', 'mdia', 'minf', 'stbl'] as const;

const addresses: readonly CorpusRow[] = [
  row('video', 'mov, its data at an address (E-12)', 'typed', async (tools) => {
    const url = box('url ', u32(0), ascii(`${tools.canaryUrl}/data\0`));
    return editBox(await clip(tools), ['moov', 'trak', 'mdia', 'minf', 'dinf', 'dref'], () => Buffer.concat([u32(0), u32(1), url]));
  }),
  row('video', 'mov, its data in /etc/passwd (E-12)', 'typed', async (tools) => {
    const path = ascii('/etc/passwd\0');
    const alias = Buffer.concat([Buffer.alloc(10), ascii('\x03etc'.padEnd(28, '\0')), Buffer.alloc(110), u16(18), u16(path.length), path, u16(0xffff), u16(0)]);
    return editBox(await clip(tools), ['moov', 'trak', 'mdia', 'minf', 'dinf', 'dref'], () => Buffer.concat([u32(0), u32(1), box('alis', u32(0), alias)]));
  }),
  row('video', 'mov that refers to another movie', refusedOrCorrupt, ({ canaryUrl }) =>
    Buffer.concat([
      box('ftyp', ascii('qt  \0\0\0\0qt  ')),
      box('moov', box('rmra', box('rmda', box('rdrf', u32(0), ascii('url '), u32(canaryUrl.length), ascii(canaryUrl))))),
    ]),
  ),
  row('audio', 'mp3, its cover at an address', { done: { durationMs: 1_000, toleranceMs: 80 } }, async ({ ffmpeg, canaryUrl }) => {
    const tag = id3([
      { id: 'APIC', content: ascii(`\0-->\0\x03\0${canaryUrl}/cover.jpg`) },
      { id: 'WXXX', content: ascii(`\0\0${canaryUrl}/page`) },
    ]);
    return Buffer.concat([tag, await ffmpeg('mp3', [...SOUND, '-c:a', 'libmp3lame', '-id3v2_version', '0'])]);
  }),
  row('video', 'mkv, a playlist attached', { done: { road: 'remux' } }, async ({ ffmpeg, file, canaryUrl }) => {
    const list = await file('m3u8', ascii(`#EXTM3U\n#EXTINF:1,\n${canaryUrl}\n`));
    return ffmpeg('mkv', [...PICTURE, ...SOUND, ...X264, ...AAC, '-attach', list, '-metadata:s:t', 'mimetype=application/x-mpegurl']);
  }),
  row('video', 'avi, a playlist in its subtitles', REFUSED, async ({ ffmpeg, canaryUrl }) => {
    const avi = await ffmpeg('avi', PICTURE);
    return Buffer.concat([avi, ascii(`01sbGAB2\0\0\0#EXTM3U\n#EXTINF:1,\n${canaryUrl}\n`)]);
  }),
];

const bombs: readonly CorpusRow[] = [
  row('video', 'mov, pictures of 16384x16384 (E-13)', pixelBomb, async ({ ffmpeg }) => {
    const bytes = await ffmpeg('mov', ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=1:duration=1', '-c:v', 'mjpeg']);
    const size = Buffer.concat([u16(16_384), u16(16_384)]);
    const frame = bytes.indexOf(Buffer.from([0xff, 0xd8, 0xff]));
    const inFrame = patch(bytes, frame + frameHeaderAt(bytes.subarray(frame)) + 5, size);
    return patch(inFrame, inFrame.indexOf('jpeg', inFrame.indexOf('stsd')) + 28, size);
  }),
  row('video', 'webm, pictures of 16383x16383 (E-13)', pixelBomb, async ({ ffmpeg }) => {
    const bytes = await ffmpeg('webm', ['-f', 'lavfi', '-i', 'testsrc2=size=512x512:rate=1:duration=1', '-c:v', 'libvpx']);
    const frame = bytes.indexOf(Buffer.from([0x9d, 0x01, 0x2a]));
    const inFrame = patch(bytes, frame + 3, Buffer.from([0xff, 0x3f, 0xff, 0x3f]));
    // PixelWidth and PixelHeight of the track, two bytes each.
    const width = inFrame.indexOf(Buffer.from([0xb0, 0x82, 0x02, 0x00]));
    return patch(patch(inFrame, width + 2, u16(16_383)), inFrame.indexOf(Buffer.from([0xba, 0x82]), width) + 2, u16(16_383));
  }),
  row('video', 'mp4, 1,000 streams (E-13)', tooLarge, async ({ ffmpeg, ffmpegFile }) => {
    const one = await ffmpegFile('mp4', [...PICTURE, ...SOUND, '-t', '0.1', ...X264, ...AAC]);
    return ffmpeg('mp4', ['-i', one, '-map', '0:v', ...Array.from({ length: 999 }, () => ['-map', '0:a']).flat(), '-c', 'copy']);
  }),
  row('video', 'mp4, 100,000 pictures a second (E-13)', tooLarge, async ({ ffmpeg }) =>
    ffmpeg('mp4', ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=100000:duration=0.001', ...X264, '-video_track_timescale', '100000']),
  ),
  row('video', 'mp4, says that it lasts 10^6 s (E-13)', { failed: 'too_long' }, async ({ ffmpeg }) =>
    longTrack(await ffmpeg('mp4', ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=1:duration=2', ...X264, '-bf', '0', '-use_editlist', '0'])),
  ),
  row('video', 'mkv, says that it lasts 10^6 s', { failed: 'too_long' }, async ({ ffmpeg }) =>
    withDuration(await ffmpeg('mkv', [...PICTURE, ...SOUND, ...X264, ...AAC]), 1e9),
  ),
  row('video', 'mkv, lasts 70 s and says 1 s', { failed: 'too_long' }, async ({ ffmpeg }) =>
    withDuration(await ffmpeg('mkv', ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=2:duration=70', ...X264]), 1_000),
  ),
  row('video', 'webm, lasts 70 s and says nothing', { failed: 'too_long' }, ({ ffmpeg }) =>
    ffmpeg('webm', ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=2:duration=70', '-c:v', 'libvpx', '-deadline', 'realtime', '-live', '1']),
  ),
];

/** Its two pictures, half a million seconds each; the clock ticks once a second. */
function longTrack(mp4: Buffer): Buffer {
  const clock = (content: Buffer) => patch(content, 12, Buffer.concat([u32(1), u32(1_000_000)]));
  const header = editBox(editBox(mp4, ['moov', 'mvhd'], clock), ['moov', 'trak', 'mdia', 'mdhd'], clock);
  const track = editBox(header, ['moov', 'trak', 'tkhd'], (content) => patch(content, 20, u32(1_000_000)));
  return editBox(track, [...STBL, 'stts'], () => Buffer.concat([u32(0), u32(1), u32(2), u32(500_000)]));
}

/** Matroska with another duration, in milliseconds. */
function withDuration(mkv: Buffer, durationMs: number): Buffer {
  const at = mkv.indexOf(Buffer.from([0x44, 0x89, 0x88]));
  const value = Buffer.alloc(8);
  value.writeDoubleBE(durationMs);
  return patch(mkv, at + 3, value);
}

const boxes: readonly CorpusRow[] = [
  row('video', 'mp4, boxes within boxes, 20,000 deep', corrupt, () => {
    let inner: Buffer = Buffer.alloc(0);
    for (let depth = 0; depth < 2_000; depth++) inner = box('moov', box('trak', box('mdia', box('minf', box('stbl', inner)))));
    return Buffer.concat([FTYP, inner]);
  }),
  row('video', 'mp4, 100,000 empty boxes', corrupt, () => Buffer.concat([FTYP, ...Array.from({ length: 100_000 }, () => box('free'))])),
  row('video', 'mp4, a box of no length', refusedOrCorrupt, () => Buffer.concat([FTYP, u32(0), ascii('moov'), noise(1_000)])),
  row('video', 'mp4, a box of 2^63 bytes', refusedOrCorrupt, () =>
    Buffer.concat([FTYP, u32(1), ascii('moov'), Buffer.from('7fffffffffffffff', 'hex'), noise(1_000)]),
  ),
  ...[
    ['stsz', Buffer.concat([u32(0), u32(0), u32(2 ** 31)])],
    ['stsz', Buffer.concat([u32(0), u32(0xffffffff), u32(2 ** 31)])],
    ['stts', Buffer.concat([u32(0), u32(2 ** 31), noise(64)])],
    ['stts', Buffer.concat([u32(0), u32(1), u32(2 ** 31 - 1), u32(2 ** 31 - 1)])],
    ['stsc', Buffer.concat([u32(0), u32(2 ** 31), noise(64)])],
    ['stco', Buffer.concat([u32(0), u32(2 ** 31), noise(64)])],
    ['stco', Buffer.concat([u32(0), u32(1), u32(0xfffffff0)])],
    ['stsd', Buffer.concat([u32(0), u32(2 ** 31), noise(64)])],
  ].map(([type, content], index) =>
    row('video', `mp4, a table that lies: ${String(type)} (${index + 1})`, 'typed', async (tools) =>
      editBox(await clip(tools), [...STBL, String(type)], () => Buffer.from(content as Buffer)),
    ),
  ),
  row('video', 'mp4, an edit list of 5,000 entries', 'typed', async (tools) => {
    const entries = Buffer.concat(Array.from({ length: 5_000 }, () => Buffer.concat([u32(1), u32(0), u32(65_536)])));
    return editBox(await clip(tools), ['moov', 'trak', 'edts', 'elst'], () => Buffer.concat([u32(0), u32(5_000), entries]));
  }),
  row('video', 'mov, a compressed index that inflates to 100 MB', 'typed', () => {
    const packed = deflateSync(Buffer.alloc(100_000_000));
    return Buffer.concat([box('ftyp', ascii('qt  \0\0\0\0qt  ')), box('moov', box('cmov', box('dcom', ascii('zlib')), box('cmvd', u32(100_000_000), packed)))]);
  }),
  row('audio', 'm4a, a name of 2^31 bytes', 'typed', async ({ ffmpeg }) => {
    const bytes = await ffmpeg('m4a', [...SOUND, ...AAC, '-metadata', 'title=abcdefgh']);
    const name = bytes.indexOf('data', bytes.indexOf('\u00a9nam', 0, 'latin1'));
    return patch(bytes, name - 4, u32(2 ** 31));
  }),
];

const UNKNOWN = Buffer.from('01ffffffffffffff', 'hex');

const elements: readonly CorpusRow[] = [
  row('video', 'mkv, an element of 2^56 bytes', corrupt, () =>
    Buffer.concat([ebmlHeader('matroska'), ebml(0x18538067, ebml(0x1549a966, noise(100), Buffer.from('01fffffffffffffe', 'hex')), UNKNOWN)]),
  ),
  row('video', 'mkv, elements within elements, 10,000 deep', corrupt, () => {
    let inner: Buffer = Buffer.alloc(0);
    for (let depth = 0; depth < 10_000; depth++) inner = ebml(0x3d7b, inner);
    return Buffer.concat([ebmlHeader('matroska'), ebml(0x18538067, ebml(0x1254c367, ebml(0x7373, inner)))]);
  }),
  row('video', 'webm, 2,000 tracks', { failed: ['too_large', 'corrupt'] }, () => {
    const track = (number: number) =>
      ebml(
        0xae,
        Buffer.concat([
          ebml(0xd7, u16(number)),
          ebml(0x73c5, u16(number)),
          ebml(0x83, Buffer.from([1])),
          ebml(0x86, ascii('V_VP8')),
          ebml(0xe0, Buffer.concat([ebml(0xb0, u16(64)), ebml(0xba, u16(64))])),
        ]),
      );
    return Buffer.concat([
      ebmlHeader('webm'),
      ebml(0x18538067, ebml(0x1654ae6b, Buffer.concat(Array.from({ length: 2_000 }, (_, index) => track(index + 1))))),
    ]);
  }),
  row('video', 'webm, noise behind its header', corrupt, () => Buffer.concat([ebmlHeader('webm'), noise(50_000, 3)])),
];

const samples = noise(16_000);

const soundBombs: readonly CorpusRow[] = [
  row('audio', 'mp3, a tag that says 256 MB', refusedOrCorrupt, () => Buffer.concat([id3([{ id: 'TIT2', content: ascii('\0x') }], 2 ** 28 - 1), noise(2_000)])),
  row('audio', 'mp3, 5,000 tags in a row', 'typed', async ({ ffmpeg }) => {
    const tag = id3([{ id: 'TIT2', content: ascii('\0x') }]);
    return Buffer.concat([...Array.from({ length: 5_000 }, () => tag), await ffmpeg('mp3', [...SOUND, '-c:a', 'libmp3lame', '-id3v2_version', '0'])]);
  }),
  row('audio', 'mp3, a cover that inflates to 100 MB', 'typed', async ({ ffmpeg }) => {
    const packed = Buffer.concat([u32(100_000_000), deflateSync(Buffer.alloc(100_000_000))]);
    return Buffer.concat([id3([{ id: 'APIC', content: packed, flags: 0x0080 }]), await ffmpeg('mp3', [...SOUND, '-c:a', 'libmp3lame', '-id3v2_version', '0'])]);
  }),
  ...[
    { channels: 65_535 },
    { channels: 0, blockAlign: 0 },
    { rate: 0 },
    { rate: 0xfffffff0 },
    { blockAlign: 0 },
    { blockAlign: 65_535 },
    { bits: 255 },
    { format: 0x161 },
    { format: 0xfffe },
  ].map((claimed) => row('audio', `wav, a header that lies: ${JSON.stringify(claimed)}`, 'typed', () => wav(samples, claimed))),
  row('audio', 'ogg, 300 streams one behind the other', 'typed', async ({ ffmpegFile }) => {
    const one = await readFile(await ffmpegFile('ogg', [...SOUND, '-t', '0.02', '-c:a', 'libopus']));
    return Buffer.concat(Array.from({ length: 300 }, () => one));
  }),
  row('audio', 'ogg, noise behind its first page', refusedOrCorrupt, async ({ ffmpegFile }) => {
    const one = await readFile(await ffmpegFile('ogg', [...SOUND, '-c:a', 'libopus']));
    return Buffer.concat([one.subarray(0, 47), noise(5_000)]);
  }),
  row('audio', 'flac, says that it has 2^36 samples', 'typed', async ({ ffmpeg }) =>
    patch(await ffmpeg('flac', [...SOUND, '-c:a', 'flac']), 21, Buffer.from('0fffffffff', 'hex')),
  ),
  row('audio', 'flac, only its name and noise', refusedOrCorrupt, () => Buffer.concat([ascii('fLaC'), noise(5_000)])),
  row('audio', 'aac, noise with sync words', 'typed', () =>
    Buffer.concat(Array.from({ length: 40 }, (_, index) => Buffer.concat([Buffer.from('fff15080', 'hex'), noise(200, index)]))),
  ),
  row('audio', 'caf, a table of 2^60 packets', 'typed', async ({ ffmpeg }) => {
    const bytes = await ffmpeg('caf', [...SOUND, '-c:a', 'alac']);
    return patch(bytes, bytes.indexOf('pakt') + 12, Buffer.from('0fffffffffffffff', 'hex'));
  }),
  row('audio', 'wma, an object of 2^63 bytes', 'typed', async ({ ffmpeg }) =>
    patch(await ffmpeg('wma', [...SOUND, '-c:a', 'wmav2']), 46, Buffer.concat([le32(0xffffffff), le32(0x7fffffff)])),
  ),
  row('audio', 'amr, every byte the same', 'typed', () => Buffer.concat([ascii('#!AMR\n'), Buffer.alloc(20_000, 0x7c)])),
];

/** Files that are made to burn time, memory or disk, or to make us open what is not in them. */
export const hostile: readonly CorpusRow[] = [...scripts, ...addresses, ...bombs, ...boxes, ...elements, ...soundBombs];
