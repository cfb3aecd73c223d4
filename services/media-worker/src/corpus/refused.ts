import { gzipSync } from 'node:zlib';
import { ascii, id3, le32, noise, u16, u32 } from './bytes.ts';
import type { CorpusTools } from './generate.ts';
import { handmadeGif } from './gif.ts';
import { quarters } from './images.ts';
import { type CorpusRow, type Expectation, REFUSED } from './row.ts';
import { amr } from './sounds.ts';
import { AAC, PICTURE, SOUND, X264 } from './videos.ts';

type Kind = CorpusRow['kind'];
type Make = (tools: CorpusTools) => Promise<Buffer> | Buffer;

function row(kind: Kind, name: string, make: Make, expect: Expectation = REFUSED): CorpusRow {
  return { name: `${kind}: ${name}`, kind, make: async (tools) => make(tools), expect };
}

const still = ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=1:duration=1', '-frames:v', '1'];
const clip = [...PICTURE, ...SOUND];
const mismatch: Expectation = { failed: 'type_mismatch' };

/** Whoever draws this follows the address and reads the file. */
const svg = (url: string) =>
  `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY xxe SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="30000" height="30000"><image xlink:href="${url}"/><image xlink:href="file:///etc/passwd"/><text>&xxe;</text></svg>`;

const pictures: readonly CorpusRow[] = [
  row('image', 'svg that reads files and addresses (E-05)', ({ canaryUrl }) => ascii(svg(canaryUrl))),
  row('image', 'svg without a preamble', () => ascii('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')),
  row('image', 'pdf', () => ascii('%PDF-1.4\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF')),
  row('image', 'postscript', ({ canaryUrl }) => ascii(`%!PS-Adobe-3.0 EPSF-3.0\n(${canaryUrl}) (r) file\n`)),
  row('image', 'mvg', ({ canaryUrl }) => ascii(`push graphic-context\nviewbox 0 0 640 480\nfill 'url(${canaryUrl})'\npop graphic-context`)),
  row('image', 'tiff, two pages (E-02)', () => quarters().tiff().toBuffer()),
  ...['bmp', 'jp2', 'jxl', 'exr', 'tga', 'pcx', 'dpx', 'ppm', 'xbm', 'sgi', 'qoi'].map((extension) =>
    row('image', extension, ({ ffmpeg }) => ffmpeg(extension, still)),
  ),
  row('image', 'ico', () => Buffer.concat([Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0, 32, 0]), le32(40), le32(22), noise(40)])),
  row('image', 'psd', () => Buffer.concat([ascii('8BPS'), u16(1), Buffer.alloc(6), u16(3), u32(10), u32(10), u16(8), u16(3), noise(50)])),
  row('image', 'fits', () => ascii('SIMPLE  =                    T'.padEnd(80) + 'BITPIX  =                    8'.padEnd(80) + 'END'.padEnd(80))),
  row('image', 'radiance', () => ascii('#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\nabcd')),
  row('image', "libvips' own", () => Buffer.concat([Buffer.from('08f2a6b6', 'hex'), u32(10), u32(10), u32(3), noise(60)])),
  row('image', 'matlab', () => ascii('MATLAB 5.0 MAT-file, Platform: PCWIN'.padEnd(128))),
  row('image', 'nifti', () => Buffer.concat([le32(348), Buffer.alloc(340), ascii('n+1\0')])),
  row('image', 'a page', () => ascii('<!doctype html><script>alert(1)</script>'.repeat(20))),
  row('image', 'text', () => ascii('not a picture at all\n'.repeat(50))),
  row('image', 'random bytes', () => noise(10_000, 99), { failed: 'unsupported' }),
  row('image', 'zeros', () => Buffer.alloc(10_000), { failed: 'unsupported' }),
  row('image', 'nothing', () => Buffer.alloc(0), { failed: 'empty' }),
  row('image', 'one byte', () => Buffer.from([0xff]), { failed: 'unsupported' }),
  row('image', 'a video', ({ ffmpeg }) => ffmpeg('mp4', [...clip, ...X264, ...AAC]), mismatch),
  row('image', 'a sound', ({ ffmpeg }) => ffmpeg('ogg', [...SOUND, '-c:a', 'libopus']), mismatch),
  row('image', 'gzip that inflates to 100 MB', () => gzipSync(Buffer.alloc(100_000_000))),
];

const videos: readonly CorpusRow[] = [
  ...['avi', 'flv', 'wmv', 'mpg', 'vob', 'mxf', 'nut', 'ivf', 'y4m', 'h264', 'dv', 'rm', 'swf'].map((extension) =>
    row('video', extension, ({ ffmpeg }) => ffmpeg(extension, FOREIGN[extension] ?? PICTURE)),
  ),
  row('video', 'ts', ({ ffmpeg }) => ffmpeg('ts', [...clip, ...X264, ...AAC])),
  row('video', 'm2ts', ({ ffmpeg }) => ffmpeg('m2ts', [...clip, ...X264, '-c:a', 'ac3'])),
  row('video', 'ogg, theora', ({ ffmpeg }) => ffmpeg('ogv', [...PICTURE, '-c:v', 'libtheora'])),
  row('video', 'a picture', () => quarters().jpeg().toBuffer(), mismatch),
  row(
    'video',
    'an animated gif',
    () =>
      handmadeGif({ width: 20, height: 20 }, [
        { width: 20, height: 20, colour: 1 },
        { width: 9, height: 9, colour: 2 },
      ]),
    mismatch,
  ),
  row('video', 'an mp3', ({ ffmpeg }) => ffmpeg('mp3', SOUND), mismatch),
  row('video', 'an m4a', ({ ffmpeg }) => ffmpeg('m4a', [...SOUND, ...AAC]), mismatch),
  row('video', 'a webm with sound only', ({ ffmpeg }) => ffmpeg('webm', [...SOUND, '-c:a', 'libopus']), mismatch),
  row('video', 'a pdf', () => ascii('%PDF-1.4\n%%EOF')),
  row('video', 'an archive', () => Buffer.concat([ascii('PK\x03\x04'), noise(2_000)])),
  row('video', 'gzip that inflates to 100 MB', () => gzipSync(Buffer.alloc(100_000_000))),
  row('video', 'random bytes', () => noise(10_000, 5), { failed: 'unsupported' }),
  row('video', 'nothing', () => Buffer.alloc(0), { failed: 'empty' }),
];

const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  dv: ['-f', 'lavfi', '-i', 'testsrc2=size=720x576:rate=25:duration=0.2', '-c:v', 'dvvideo', '-pix_fmt', 'yuv420p'],
  rm: [...PICTURE, '-c:v', 'rv10', '-s', '176x144'],
  mxf: [...PICTURE, '-c:v', 'mpeg2video', '-r', '25'],
  mpg: [...PICTURE, '-r', '25'],
  vob: [...PICTURE, '-r', '25'],
  ivf: [...PICTURE, '-c:v', 'libvpx', '-deadline', 'realtime'],
  y4m: [...PICTURE, '-frames:v', '2', '-pix_fmt', 'yuv420p'],
  swf: [...PICTURE, '-c:v', 'flv1'],
  h264: [...PICTURE, ...X264],
};

const sounds: readonly CorpusRow[] = [
  row('audio', 'a picture', () => quarters().png().toBuffer(), mismatch),
  row('audio', 'midi', () => Buffer.concat([ascii('MThd'), u32(6), u16(0), u16(1), u16(96), ascii('MTrk'), u32(4), Buffer.from([0, 0xff, 0x2f, 0])])),
  row('audio', 'a pdf', () => ascii('%PDF-1.4 not a sound')),
  row('audio', 'text', () => ascii('hello '.repeat(200)), { failed: 'unsupported' }),
  row('audio', 'random bytes', () => noise(10_000, 77), { failed: 'unsupported' }),
  row('audio', 'nothing', () => Buffer.alloc(0), { failed: 'empty' }),
  row('audio', 'gzip of a note', () => gzipSync(amr(50))),
  row('audio', 'a tag, then a picture', async () => Buffer.concat([id3([{ id: 'TPE1', content: ascii('\0a') }]), await quarters().jpeg().toBuffer()]), 'typed'),
];

/** What is not media, not accepted, or not what the event says. */
export const refused: readonly CorpusRow[] = [...pictures, ...videos, ...sounds];
