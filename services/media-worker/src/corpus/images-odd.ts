import { deflateSync } from 'node:zlib';
import { ascii, box, cut, frameHeaderAt, noise, patch, png, pngChunk, u16, u32, withPngChunks, withSegment } from './bytes.ts';
import type { CorpusTools } from './generate.ts';
import { handmadeGif } from './gif.ts';
import { animation, quarters, seeThrough } from './images.ts';
import type { CorpusRow, Expectation } from './row.ts';

type Make = (tools: CorpusTools) => Promise<Buffer> | Buffer;

function row(name: string, expect: Expectation, make: Make): CorpusRow {
  return { name, kind: 'image', make: async (tools) => make(tools), expect };
}

const corrupt = { failed: 'corrupt' } as const;
const tooLarge = { failed: 'too_large' } as const;
const upright = { done: { width: 320, height: 240 } } as const;

const jpeg = () => quarters().jpeg({ quality: 95 }).toBuffer();
const flat = (width: number, height: number) => deflateSync(Buffer.alloc(Math.ceil(width / 8) * height + height), { level: 9 });
/** One bit per pixel, all black: hundreds of millions of pixels in some hundred kilobytes. */
const flatPng = (width: number, height: number) => png({ width, height, bits: 1, colour: 0 }, pngChunk('IDAT', flat(width, height)));

const damaged: readonly CorpusRow[] = [
  row('jpeg, cut at 6 %', corrupt, async () => cut(await jpeg(), 0.06)),
  row('jpeg, cut in its header', corrupt, async () => cut(await jpeg(), 0.02)),
  row('jpeg, cut at half', corrupt, async () => cut(await jpeg(), 0.5)),
  row('jpeg, cut at 90 %', corrupt, async () => cut(await jpeg(), 0.9)),
  row('jpeg, its first three bytes', corrupt, () => Buffer.from([0xff, 0xd8, 0xff])),
  // Zeros are codes as good as others to a decoder.
  row('jpeg, zeros from the middle on', 'typed', async () => Buffer.concat([cut(await jpeg(), 0.5), Buffer.alloc(2_000)])),
  row('jpeg, progressive, cut at half', corrupt, async () => cut(await quarters().jpeg({ progressive: true, quality: 95 }).toBuffer(), 0.5)),
  row('png, cut at half', corrupt, async () => cut(await quarters().png().toBuffer(), 0.5)),
  row('png, header only', corrupt, async () => (await quarters().png().toBuffer()).subarray(0, 33)),
  row('png, a wrong checksum in the pixels', corrupt, async () => {
    const bytes = await quarters().png().toBuffer();
    return patch(bytes, bytes.indexOf('IDAT') + 40, Buffer.from([0xaa, 0xbb, 0xcc]));
  }),
  row('png, no size', corrupt, () => png({ width: 0, height: 0 }, pngChunk('IDAT', deflateSync(Buffer.alloc(4))))),
  row('webp, cut at half', corrupt, async () => cut(await quarters().webp({ lossless: false, quality: 95 }).toBuffer(), 0.5)),
  row('webp, header only', corrupt, async () => (await quarters().webp().toBuffer()).subarray(0, 20)),
  row('gif, cut at half', corrupt, async () => cut(await quarters().gif().toBuffer(), 0.5)),
  row('gif, header only', corrupt, async () => (await quarters().gif().toBuffer()).subarray(0, 13)),
  row('gif, animated, cut in its second picture', { done: { width: 40, height: 40, warnings: [], mayWarn: ['truncated', 'animation_truncated'] } }, () => {
    const whole = handmadeGif({ width: 40, height: 40 }, [
      { width: 40, height: 40, colour: 1 },
      { width: 40, height: 40, colour: 2 },
    ]);
    return cut(whole, 0.8);
  }),
  row('avif, cut at half', corrupt, async () => cut(await quarters().avif({ effort: 0 }).toBuffer(), 0.5)),
  row('heic, cut at half', corrupt, async ({ heic }) => cut(await heic(await quarters().png().toBuffer()), 0.5)),
  row('heic, header only', corrupt, async ({ heic }) => (await heic(await quarters().png().toBuffer())).subarray(0, 40)),
];

const floods: readonly CorpusRow[] = [
  row('jpeg, header claims 65500x65500 (E-01)', tooLarge, async () => {
    const bytes = await jpeg();
    return patch(bytes, frameHeaderAt(bytes) + 5, Buffer.concat([u16(65_500), u16(65_500)]));
  }),
  row('png, 14000x14000 flat (E-01)', tooLarge, () => flatPng(14_000, 14_000)),
  row('png, header claims 30000x30000 (E-01)', tooLarge, () => png({ width: 30_000, height: 30_000 }, pngChunk('IDAT', noise(100)))),
  row('png, header claims 2^31 - 1 squared', { failed: ['too_large', 'corrupt'] }, () =>
    png({ width: 2 ** 31 - 1, height: 2 ** 31 - 1 }, pngChunk('IDAT', noise(100))),
  ),
  row('png, exactly 64 million pixels', { done: { width: 8_000, height: 8_000 } }, () => flatPng(8_000, 8_000)),
  row('png, one row more than 64 million pixels', tooLarge, () => flatPng(8_000, 8_001)),
  row('png, 65535x1', { done: { width: 65_535, height: 1 } }, () => flatPng(65_535, 1)),
  row('png, 1x65535', { done: { width: 1, height: 65_535 } }, () => flatPng(1, 65_535)),
  row('png, pixels that inflate to a thousand times what is needed', 'typed', () =>
    png({ width: 10, height: 10, bits: 1, colour: 0 }, pngChunk('IDAT', deflateSync(Buffer.alloc(100_000_000), { level: 9 }))),
  ),
  row('png, colour profile of 50 MB (E-07)', 'typed', async () => {
    const profile = Buffer.concat([ascii('bomb\0\0'), deflateSync(Buffer.alloc(50_000_000))]);
    return withPngChunks(await quarters().png().toBuffer(), pngChunk('iCCP', profile));
  }),
  row('png, text that inflates to 50 MB', 'typed', async () => {
    const text = Buffer.concat([ascii('Comment\0\0'), deflateSync(Buffer.alloc(50_000_000, 'x'))]);
    return withPngChunks(await quarters().png().toBuffer(), pngChunk('zTXt', text));
  }),
  row('png, 50,000 chunks of text', 'typed', async () => {
    const chunk = pngChunk('tEXt', ascii('k\0v'));
    return withPngChunks(await quarters().png().toBuffer(), ...Array.from({ length: 50_000 }, () => chunk));
  }),
  row('jpeg, progressive, 3,000 scans', 'typed', async () => {
    const bytes = await quarters().jpeg({ progressive: true }).toBuffer();
    const last = bytes.lastIndexOf(Buffer.from([0xff, 0xda]));
    const scan = bytes.subarray(last, -2);
    return Buffer.concat([bytes.subarray(0, last), ...Array.from({ length: 3_000 }, () => scan), bytes.subarray(-2)]);
  }),
  row('webp, animated, canvas claims 16383x16383 (E-08)', tooLarge, async () => {
    const bytes = await animation(2, (source) => source.webp());
    return patch(bytes, bytes.indexOf('VP8X') + 12, Buffer.from([0xfe, 0x3f, 0, 0xfe, 0x3f, 0]));
  }),
  row('gif, 10,000 pictures (E-02)', { done: { width: 10, height: 10, animated: true, warnings: ['animation_truncated'] } }, () =>
    handmadeGif(
      { width: 10, height: 10 },
      Array.from({ length: 10_000 }, (_, index) => ({ width: 10, height: 10, colour: 1 + (index % 3) })),
    ),
  ),
  row('gif, 40 pictures of 4 million pixels (E-02)', { done: { width: 2_000, height: 2_000, mayWarn: ['animation_truncated', 'animation_still'] } }, () =>
    handmadeGif(
      { width: 2_000, height: 2_000 },
      Array.from({ length: 40 }, (_, index) => ({ width: 20, height: 20, left: index * 10, top: index * 10, colour: 1 + (index % 3) })),
    ),
  ),
  // Decoders believe the picture rather than the screen where the two are so far apart.
  row('gif, screen of 65535x65535', 'typed', () => handmadeGif({ width: 65_535, height: 65_535 }, [{ width: 4, height: 4, colour: 1 }])),
  row('heic, header claims 60000x60000', { failed: ['too_large', 'corrupt'] }, async ({ heic }) => {
    const bytes = await heic(await quarters().png().toBuffer());
    let patched = bytes;
    for (let at = bytes.indexOf('ispe'); at >= 0; at = bytes.indexOf('ispe', at + 4))
      patched = patch(patched, at + 8, Buffer.concat([u32(60_000), u32(60_000)]));
    return patched;
  }),
  row('avif, header claims 60000x60000 (E-08)', { failed: ['too_large', 'corrupt'] }, async () => {
    const bytes = await quarters().avif({ effort: 0 }).toBuffer();
    return patch(bytes, bytes.indexOf('ispe') + 8, Buffer.concat([u32(60_000), u32(60_000)]));
  }),
  row('avif, boxes within boxes, 5,000 deep', corrupt, () => {
    let inner: Buffer = Buffer.alloc(0);
    for (let depth = 0; depth < 5_000; depth++) inner = box('meta', inner);
    return Buffer.concat([box('ftyp', ascii('avif\0\0\0\0avifmif1miaf')), inner]);
  }),
];

const animations: readonly CorpusRow[] = [
  row('gif, every disposal, pictures smaller than the screen', { done: { width: 60, height: 60, animated: true } }, () =>
    handmadeGif(
      { width: 60, height: 60 },
      [0, 1, 2, 3, 2, 3, 7, 0].map((disposal, index) => ({ disposal, left: index * 5, top: index * 3, width: 20, height: 20, colour: 1 + (index % 3) })),
    ),
  ),
  row('gif, a picture that reaches over the edge', 'typed', () =>
    handmadeGif({ width: 20, height: 20 }, [
      { width: 20, height: 20, colour: 1 },
      { left: 10, top: 10, width: 40, height: 40, colour: 2 },
    ]),
  ),
  row('gif, one picture that says it loops', { done: { width: 30, height: 30, animated: false } }, () =>
    handmadeGif({ width: 30, height: 30 }, [{ width: 30, height: 30, colour: 1 }]),
  ),
  row('gif, 1x1', { done: { width: 1, height: 1, animated: false } }, () => handmadeGif({ width: 1, height: 1 }, [{ width: 1, height: 1, colour: 1 }])),
  row('gif, without its end', 'typed', () => handmadeGif({ width: 30, height: 30 }, [{ width: 30, height: 30, colour: 1 }], Buffer.alloc(0))),
];

const polyglots: readonly CorpusRow[] = [
  row('jpeg that is a ZIP as well (E-04)', upright, async () => Buffer.concat([await jpeg(), zip()])),
  row('jpeg that is a page as well (E-04)', upright, async () => withSegment(await jpeg(), 0xfe, ascii('--><script>alert(document.domain)</script><!--'))),
  row('gif that is a program as well (E-04)', { done: { width: 10_799, height: 1 } }, () =>
    handmadeGif({ width: 0x2a2f, height: 1 }, [{ width: 0x2a2f, height: 1, colour: 1 }], ascii(';*/=1;alert(document.domain)')),
  ),
  row('png with a ZIP behind it', upright, async () => Buffer.concat([await (await seeThrough()).png().toBuffer(), zip()])),
  row('webp with a page behind it', upright, async () => Buffer.concat([await quarters().webp().toBuffer(), ascii('<script>alert(1)</script>')])),
];

/** An archive of one empty file. */
function zip(): Buffer {
  const name = ascii('a.html');
  const local = Buffer.concat([ascii('PK\x03\x04'), Buffer.alloc(22), u16(name.length).reverse(), u16(0), name]);
  const central = Buffer.concat([ascii('PK\x01\x02'), Buffer.alloc(24), u16(name.length).reverse(), Buffer.alloc(16), name]);
  const end = Buffer.concat([ascii('PK\x05\x06\0\0\0\0\x01\0\x01\0'), u32(central.length).reverse(), u32(local.length).reverse(), u16(0)]);
  return Buffer.concat([local, central, end]);
}

/** Pictures that are damaged, or larger than they look, or more than pictures. */
export const oddImages: readonly CorpusRow[] = [...damaged, ...floods, ...animations, ...polyglots];
