import sharp, { type Sharp } from 'sharp';
import { ascii, patch, pngChunk, withPngChunks, withSegment } from './bytes.ts';
import type { CorpusTools } from './generate.ts';
import { PRIVATE, PRIVATE_EXIF, PRIVATE_XMP } from './private-data.ts';
import type { CorpusRow, DoneExpectation } from './row.ts';

/** Four quarters: red and lime above, blue and white below. Lying on its side it looks different in each of the eight ways. */
export function quarters(width = 320, height = 240): Sharp {
  const quarter = (background: string) => ({ create: { width: Math.ceil(width / 2), height: Math.ceil(height / 2), channels: 3 as const, background } });
  return sharp({ create: { width, height, channels: 3, background: 'red' } }).composite([
    { input: quarter('lime'), left: Math.floor(width / 2), top: 0 },
    { input: quarter('blue'), left: 0, top: Math.floor(height / 2) },
    { input: quarter('white'), left: Math.floor(width / 2), top: Math.floor(height / 2) },
  ]);
}

/** The quarters as pixels: a pipeline of sharp does some steps before it composes, whatever their order in the code. */
async function drawn(width?: number, height?: number): Promise<Sharp> {
  const { data, info } = await quarters(width, height).raw().toBuffer({ resolveWithObject: true });
  return sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } });
}

/** The same with a see-through left half. */
export async function seeThrough(): Promise<Sharp> {
  const { data, info } = await (await drawn()).ensureAlpha(1).raw().toBuffer({ resolveWithObject: true });
  for (let at = 0; at < data.length; at += 4) if ((at / 4) % info.width < info.width / 2) data[at + 3] = 0;
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 4 } });
}

const upright: DoneExpectation = { width: 320, height: 240, animated: false, corners: ['red', 'lime'] };

/** Where the corners come to lie for each value of EXIF's orientation. */
const TURNED: readonly (readonly [string, string])[] = [
  ['red', 'lime'],
  ['lime', 'red'],
  ['white', 'blue'],
  ['blue', 'white'],
  ['red', 'blue'],
  ['blue', 'red'],
  ['white', 'lime'],
  ['lime', 'white'],
];

function picture(name: string, make: (source: Sharp, tools: CorpusTools) => Promise<Buffer>, expect: DoneExpectation = upright): CorpusRow {
  return { name, kind: 'image', make: async (tools) => make(await drawn(), tools), expect: { done: expect } };
}

function sized(name: string, width: number, height: number, make: (source: Sharp) => Sharp): CorpusRow {
  const source = () => sharp({ create: { width, height, channels: 3, background: 'teal' } });
  return { name, kind: 'image', make: () => make(source()).toBuffer(), expect: { done: { width, height, animated: false } } };
}

/** A JPEG with all that a phone knows about its owner, and a small picture of the same inside. */
async function privateJpeg(): Promise<Buffer> {
  const jpeg = await (await drawn()).withExif(PRIVATE_EXIF).withXmp(PRIVATE_XMP).jpeg().toBuffer();
  const iptc = Buffer.concat([Buffer.from([0x1c, 2, 80, 0, PRIVATE.iptc.length]), ascii(PRIVATE.iptc)]);
  const padding = Buffer.alloc(iptc.length % 2);
  const photoshop = Buffer.concat([ascii('Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0'), Buffer.from([iptc.length]), iptc, padding]);
  return withSegment(withSegment(jpeg, 0xed, photoshop), 0xfe, ascii(PRIVATE.note));
}

/** The primary picture, then a second one behind it: how phones store gain maps, depth and portraits. */
async function multiPicture(): Promise<Buffer> {
  const primary = await (await drawn()).jpeg().toBuffer();
  const gainMap = await sharp({ create: { width: 80, height: 60, channels: 3, background: 'grey' } })
    .withExif(PRIVATE_EXIF)
    .jpeg()
    .toBuffer();
  return Buffer.concat([withSegment(primary, 0xe2, ascii('MPF\0II*\0\x08\0\0\0\0\0\0\0\0\0')), gainMap]);
}

const jpegs: readonly CorpusRow[] = [
  picture('jpeg, baseline', (source) => source.jpeg().toBuffer()),
  picture('jpeg, progressive', (source) => source.jpeg({ progressive: true }).toBuffer()),
  picture('jpeg, full chroma', (source) => source.jpeg({ chromaSubsampling: '4:4:4' }).toBuffer()),
  picture('jpeg, grey', (source) => source.greyscale().jpeg().toBuffer(), { width: 320, height: 240, animated: false }),
  picture('jpeg, CMYK', (source) => source.toColourspace('cmyk').jpeg().toBuffer(), { width: 320, height: 240, animated: false }),
  picture('jpeg, Display P3', (source) => source.withIccProfile('p3').jpeg().toBuffer()),
  ...TURNED.map((corners, index) => {
    const [width, height] = index < 4 ? [320, 240] : [240, 320];
    return picture(
      `jpeg, orientation ${index + 1}`,
      (source) =>
        source
          .withMetadata({ orientation: index + 1 })
          .jpeg()
          .toBuffer(),
      {
        width,
        height,
        animated: false,
        corners,
      },
    );
  }),
  picture('jpeg, with place, device, person, XMP, IPTC, comment', () => privateJpeg()),
  picture('jpeg, with a gain map behind it', () => multiPicture()),
  sized('jpeg, 1x1', 1, 1, (source) => source.jpeg()),
  sized('jpeg, 1x4000', 1, 4_000, (source) => source.jpeg()),
  sized('jpeg, 4000x1', 4_000, 1, (source) => source.jpeg()),
  sized('jpeg, 65500x1', 65_500, 1, (source) => source.jpeg()),
  sized('jpeg, larger than every variant', 2_600, 1_800, (source) => source.jpeg()),
  sized('jpeg, as large as the largest variant', 2_048, 1_024, (source) => source.jpeg()),
];

const pngs: readonly CorpusRow[] = [
  picture('png, 8 bit', (source) => source.png().toBuffer()),
  picture('png, 16 bit', (source) => source.toColourspace('rgb16').png().toBuffer()),
  picture('png, palette', (source) => source.png({ palette: true }).toBuffer()),
  picture('png, 1 bit', (source) => source.threshold(128).png({ palette: true, colours: 2 }).toBuffer(), { width: 320, height: 240 }),
  picture('png, interlaced', (source) => source.png({ progressive: true }).toBuffer()),
  picture('png, grey', (source) => source.greyscale().png().toBuffer(), { width: 320, height: 240 }),
  picture('png, alpha', async () => (await seeThrough()).png().toBuffer(), { width: 320, height: 240 }),
  picture('png, grey with alpha', async () => (await seeThrough()).greyscale().png().toBuffer(), { width: 320, height: 240 }),
  picture('png, palette with alpha', async () => (await seeThrough()).png({ palette: true }).toBuffer(), { width: 320, height: 240 }),
  picture('png, Display P3', (source) => source.withIccProfile('p3').png().toBuffer()),
  picture('png, lying on its side by EXIF', (source) => source.withMetadata({ orientation: 6 }).png().toBuffer(), {
    width: 240,
    height: 320,
    corners: ['blue', 'red'],
  }),
  picture('png, with EXIF, XMP and texts', async (source) => {
    const plain = await source.withExif(PRIVATE_EXIF).withXmp(PRIVATE_XMP).png().toBuffer();
    return withPngChunks(plain, pngChunk('tEXt', ascii(`Author\0${PRIVATE.person}`)), pngChunk('tEXt', ascii(`Comment\0${PRIVATE.note}`)));
  }),
  {
    name: 'png, animated',
    kind: 'image',
    make: ({ ffmpeg }) => ffmpeg('png', ['-f', 'lavfi', '-i', 'testsrc2=size=160x120:rate=5:duration=1', '-f', 'apng', '-plays', '0']),
    // libvips knows no APNG: the first picture is what there is.
    expect: { done: { width: 160, height: 120, animated: false, mayWarn: ['animation_still'] } },
  },
  sized('png, 1x1', 1, 1, (source) => source.png()),
  sized('png, 2x3, interlaced', 2, 3, (source) => source.png({ progressive: true })),
];

/** An animation of so many pictures of 120x90. */
export async function animation(frames: number, encode: (source: Sharp) => Sharp, alpha = false): Promise<Buffer> {
  const colours = ['red', 'lime', 'blue', 'white'];
  const pictures = await Promise.all(
    Array.from({ length: frames }, (_, index) => {
      const background = alpha && index % 2 === 1 ? { r: 0, g: 0, b: 255, alpha: 0.3 } : (colours[index % colours.length] ?? 'red');
      return sharp({ create: { width: 120, height: 90, channels: alpha ? 4 : 3, background } })
        .png()
        .toBuffer();
    }),
  );
  return encode(sharp(pictures, { join: { animated: true } })).toBuffer();
}

const moving: DoneExpectation = { width: 120, height: 90, animated: true };

const webps: readonly CorpusRow[] = [
  picture('webp, lossy', (source) => source.webp().toBuffer()),
  picture('webp, lossless', (source) => source.webp({ lossless: true }).toBuffer()),
  picture('webp, alpha', async () => (await seeThrough()).webp().toBuffer(), { width: 320, height: 240 }),
  picture(
    'webp, with EXIF and XMP, lying on its side',
    (source) => source.withExif(PRIVATE_EXIF).withMetadata({ orientation: 8 }).withXmp(PRIVATE_XMP).webp().toBuffer(),
    {
      width: 240,
      height: 320,
      corners: ['lime', 'white'],
    },
  ),
  picture('webp, animated', () => animation(6, (source) => source.webp({ delay: 100 })), moving),
  picture('webp, animated with alpha', () => animation(6, (source) => source.webp({ delay: [20, 200, 20, 200, 20, 200] }), true), moving),
];

const gifs: readonly CorpusRow[] = [
  picture('gif, still', (source) => source.gif().toBuffer()),
  picture('gif, still, see-through', async () => (await seeThrough()).gif().toBuffer(), { width: 320, height: 240 }),
  picture('gif, animated', () => animation(8, (source) => source.gif({ delay: 100 })), moving),
  picture('gif, animated, see-through', () => animation(4, (source) => source.gif({ delay: 50 }), true), moving),
  picture('gif, animated, no delays, once', () => animation(4, (source) => source.gif({ delay: 0, loop: 1 })), moving),
];

const modern: readonly CorpusRow[] = [
  picture('avif, 8 bit', (source) => source.avif({ effort: 0 }).toBuffer()),
  picture('avif, alpha', async () => (await seeThrough()).avif({ effort: 0 }).toBuffer(), { width: 320, height: 240 }),
  picture('avif, 10 bit', (_source, { ffmpeg }) => ffmpeg('avif', [...STILL, '-pix_fmt', 'yuv420p10le', ...AV1]), { width: 320, height: 240 }),
  picture('avif, animated', (_source, { ffmpeg }) => ffmpeg('avif', [...MOVING, '-pix_fmt', 'yuv420p', ...AV1]), {
    width: 320,
    height: 240,
    animated: false,
    mayWarn: ['animation_still'],
  }),
  picture('heic, 8 bit', async (source, { heic }) => heic(await source.png().toBuffer())),
  picture('heic, 10 bit', async (source, { heic }) => heic(await source.toColourspace('rgb16').png().toBuffer(), ['-b', '10'])),
  picture('heic, alpha', async (_source, { heic }) => heic(await (await seeThrough()).png().toBuffer()), { width: 320, height: 240 }),
  picture('heic, odd size', async (_source, { heic }) => heic(await (await drawn(321, 241)).png().toBuffer()), {
    width: 321,
    height: 241,
    corners: ['red', 'lime'],
  }),
  picture('heic, of the brand mif1', async (source, { heic }) => patch(await heic(await source.png().toBuffer()), 8, ascii('mif1'))),
  picture('heic, with EXIF', async (source, { heic }) => heic(await source.withExif(PRIVATE_EXIF).png().toBuffer())),
];

const AV1 = ['-c:v', 'libaom-av1', '-cpu-used', '8', '-crf', '40'];
const STILL = ['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=1:duration=1', '-frames:v', '1'];
const MOVING = ['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=5:duration=1'];

/** Pictures as people send them, of every kind that is accepted. */
export const images: readonly CorpusRow[] = [...jpegs, ...pngs, ...webps, ...gifs, ...modern];
