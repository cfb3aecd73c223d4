import { deflateSync } from 'node:zlib';
import { crc32 } from 'node:zlib';
import { PermanentFailure } from '@backhaul/queue/job';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { sharpImages } from './sharp-images.ts';

const VARIANTS = [
  { name: 'full', maxPx: 2048 },
  { name: 'medium', maxPx: 1024 },
  { name: 'thumb', maxPx: 320 },
];
const never = new AbortController().signal;

function plain(width: number, height: number, channels: 3 | 4 = 3) {
  return sharp({ create: { width, height, channels, background: { r: 200, g: 30, b: 30, alpha: 0.5 } } });
}

/** Left half red, right half blue, so that it can be told which way is up. */
async function redAndBlue(width: number, height: number) {
  const half = await sharp({ create: { width: width / 2, height, channels: 3, background: 'blue' } })
    .png()
    .toBuffer();
  return sharp({ create: { width, height, channels: 3, background: 'red' } }).composite([{ input: half, left: width / 2, top: 0 }]);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PermanentFailure) return error.code;
    throw error;
  }
  return 'no failure';
}

test('a phone picture comes out upright, in three sizes, and without where it was taken (E-06)', async () => {
  const phone = await (
    await redAndBlue(3000, 2000)
  )
    .withExif({ IFD0: { Make: 'Phone' }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 3230/100' } })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  expect((await sharp(phone).metadata()).orientation).toBe(6);
  const image = await sharpImages().render(phone, VARIANTS, never);
  expect(image).toMatchObject({ width: 2000, height: 3000, animated: false, contentType: 'image/webp' });
  expect(image.variants.map(({ name, width, height }) => [name, width, height])).toEqual([
    ['full', 1365, 2048],
    ['medium', 683, 1024],
    ['thumb', 213, 320],
  ]);
  for (const { bytes, width, height } of image.variants) {
    const metadata = await sharp(bytes).metadata();
    expect(metadata).toMatchObject({ format: 'webp', width, height });
    expect(metadata.exif ?? metadata.xmp ?? metadata.iptc ?? metadata.icc ?? metadata.orientation).toBeUndefined();
    // Turned clockwise by 90 degrees, what was left is on top.
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
    expect(data.readUInt8(0)).toBeGreaterThan(200);
    expect(data.readUInt8((info.height - 1) * info.width * info.channels)).toBeLessThan(60);
  }
});

test('a small picture is never enlarged, and sizes that would be the same are left out', async () => {
  const image = await sharpImages().render(await plain(200, 100).png().toBuffer(), VARIANTS, never);
  expect(image.variants.map(({ name, width, height }) => [name, width, height])).toEqual([['full', 200, 100]]);
});

test('transparency, grey, CMYK, 16 bits, Display P3 and extreme shapes all become sRGB pictures (E-07)', async () => {
  const sources = await Promise.all([
    plain(900, 600, 4).png().toBuffer(),
    plain(900, 600).greyscale().jpeg().toBuffer(),
    plain(900, 600).toColourspace('cmyk').jpeg().toBuffer(),
    plain(900, 600).toColourspace('rgb16').png().toBuffer(),
    plain(900, 600).withIccProfile('p3').jpeg().toBuffer(),
    plain(1, 9000).png().toBuffer(),
    plain(9000, 1).jpeg().toBuffer(),
    plain(1, 1).webp().toBuffer(),
    plain(64, 64).avif().toBuffer(),
    plain(900, 600).gif().toBuffer(),
  ]);
  for (const source of sources) {
    const { variants } = await sharpImages().render(source, VARIANTS, never);
    const metadata = await sharp(variants[0]?.bytes).metadata();
    expect(metadata).toMatchObject({ format: 'webp', space: 'srgb', depth: 'uchar' });
  }
  const transparent = await sharpImages().render(sources[0] ?? Buffer.alloc(0), VARIANTS, never);
  expect((await sharp(transparent.variants[0]?.bytes).metadata()).hasAlpha).toBe(true);
});

test('an animation gives its first picture and says that it moves', async () => {
  const frames = await Promise.all(
    ['red', 'blue'].map((background) =>
      sharp({ create: { width: 40, height: 40, channels: 3, background } })
        .png()
        .toBuffer(),
    ),
  );
  const image = await sharpImages().render(
    await sharp(frames, { join: { animated: true } })
      .gif()
      .toBuffer(),
    VARIANTS,
    never,
  );
  expect(image).toMatchObject({ width: 40, height: 40, animated: true });
});

test('a picture that claims more pixels than allowed is refused before it is decoded (E-01)', async () => {
  expect(await codeOf(sharpImages().render(pngOf(14_000, 14_000), VARIANTS, never))).toBe('too_large');
  expect(await codeOf(sharpImages().render(pngOf(30_000, 30_000), VARIANTS, never))).toBe('too_large');
});

test("a picture cut short at any point fails, quickly, and is nobody else's fault (E-03)", async () => {
  const whole = await sharp({ create: { width: 640, height: 480, channels: 3, background: 'green', noise: { type: 'gaussian', mean: 128, sigma: 60 } } })
    .jpeg()
    .toBuffer();
  for (let part = 0.02; part < 0.95; part += 0.04) {
    expect(await codeOf(sharpImages().render(whole.subarray(0, Math.floor(whole.length * part)), VARIANTS, never))).toMatch(/^(corrupt|unsupported)$/);
  }
});

test("SVG, TIFF and libvips' own format are not even tried (E-05)", async () => {
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><image href="file:///etc/passwd"/></svg>');
  const tiff = await plain(10, 10).tiff().toBuffer();
  for (const source of [svg, tiff, Buffer.from('\x08\xf2\xa6\xb6'.padEnd(100, '\0'), 'latin1')]) {
    expect(await codeOf(sharpImages().render(source, VARIANTS, never))).toBe('unsupported');
  }
});

test('bytes after the picture do not survive (E-04)', async () => {
  const jpeg = await plain(100, 100).jpeg().toBuffer();
  const { variants } = await sharpImages().render(Buffer.concat([jpeg, Buffer.from('<script>alert(1)</script>')]), VARIANTS, never);
  expect(variants[0]?.bytes.includes('<script>')).toBe(false);
});

test('the same picture makes the same bytes', async () => {
  const source = await plain(1500, 700).jpeg().toBuffer();
  const [first, second] = await Promise.all([sharpImages().render(source, VARIANTS, never), sharpImages().render(source, VARIANTS, never)]);
  expect(first).toEqual(second);
});

test('a cancelled job ends with the reason of the cancel', async () => {
  const signal = AbortSignal.abort(new Error('cancelled'));
  await expect(sharpImages().render(await plain(10, 10).png().toBuffer(), VARIANTS, signal)).rejects.toThrow('cancelled');
});

/** A PNG of one colour whose header and rows agree, however large. */
function pngOf(width: number, height: number): Buffer {
  const chunk = (name: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // One bit of grey.
  header.writeUInt8(1, 8);
  const rows = deflateSync(Buffer.alloc((1 + Math.ceil(width / 8)) * height));
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]);
}
