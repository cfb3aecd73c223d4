import sharp from 'sharp';
import { expect, test } from 'vitest';
import { VARIANTS, coloursOf, grainy, plain, quarters, request } from './images/test-pictures.ts';
import { sharpImages } from './sharp-images.ts';

const sizes = (variants: readonly { name: string; width: number; height: number }[]) => variants.map(({ name, width, height }) => [name, width, height]);

test('a phone picture comes out upright, in three sizes, and with nothing about its owner (E-06)', async () => {
  const phone = await (
    await quarters(3000, 2000)
  )
    .withExif({ IFD0: { Make: 'Phone' }, IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 3230/100' } })
    .withXmp('<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  const image = await sharpImages().render(phone, request('jpeg'));
  expect(image).toMatchObject({ width: 2000, height: 3000, animated: false, hasAlpha: false, warnings: [] });
  expect(image.source).toMatchObject({
    width: 3000,
    height: 2000,
    orientation: 6,
    frames: 1,
    space: 'srgb',
    depth: 'uchar',
    progressive: false,
    chroma: '4:2:0',
  });
  expect(sizes(image.variants)).toEqual([
    ['full', 1365, 2048],
    ['medium', 683, 1024],
    ['thumb', 213, 320],
  ]);
  for (const { bytes, width, height, contentType } of image.variants) {
    expect(contentType).toBe('image/webp');
    const { exif, xmp, iptc, icc, orientation, ...metadata } = await sharp(bytes).metadata();
    expect(metadata).toMatchObject({ format: 'webp', width, height });
    expect([exif, xmp, iptc, icc, orientation]).toEqual(Array(5).fill(undefined));
  }
});

test.each([
  [1, 'red lime blue white', false],
  [2, 'lime red white blue', false],
  [3, 'white blue lime red', false],
  [4, 'blue white red lime', false],
  [5, 'red blue lime white', true],
  [6, 'blue red white lime', true],
  [7, 'white lime blue red', true],
  [8, 'lime white red blue', true],
])('EXIF orientation %i is applied to every output (E-06)', async (orientation, colours, swapped) => {
  for (const format of ['jpeg', 'png', 'webp'] as const) {
    const source = await (await quarters()).withMetadata({ orientation })[format]().toBuffer();
    const image = await sharpImages().render(source, request(format));
    expect([image.width, image.height]).toEqual(swapped ? [400, 600] : [600, 400]);
    for (const { bytes } of image.variants) expect((await coloursOf(bytes)).join(' ')).toBe(colours);
  }
});

test('a picture is never enlarged, and an output that would be no smaller than the one before is left out', async () => {
  const images = sharpImages();
  const made = async (width: number, height: number) => sizes((await images.render(await plain(width, height).png().toBuffer(), request('png'))).variants);
  expect(await made(200, 100)).toEqual([['full', 200, 100]]);
  expect(await made(320, 320)).toEqual([['full', 320, 320]]);
  expect(await made(321, 10)).toEqual([
    ['full', 321, 10],
    ['thumb', 320, 10],
  ]);
  expect(await made(1024, 1000)).toEqual([
    ['full', 1024, 1000],
    ['thumb', 320, 313],
  ]);
  expect(await made(1, 9000)).toEqual([
    ['full', 1, 2048],
    ['medium', 1, 1024],
    ['thumb', 1, 320],
  ]);
});

test('only what is asked for is made, with the same bytes', async () => {
  const source = await grainy(1500, 700).jpeg().toBuffer();
  const images = sharpImages();
  const all = await images.render(source, request('jpeg'));
  for (const name of ['full', 'medium', 'thumb']) {
    const one = await images.render(source, request('jpeg', { only: new Set([name]) }));
    expect(one).toEqual({ ...all, variants: all.variants.filter((variant) => variant.name === name) });
  }
  expect((await images.render(source, request('jpeg', { only: new Set() }))).variants).toEqual([]);
});

test('grey, CMYK, 16 bits, palettes, one bit, Display P3 and AVIF all become sRGB pictures of the same colours (E-07)', async () => {
  const source = await quarters();
  const coloured = ['red', 'lime', 'blue', 'white'];
  const rows: readonly (readonly ['jpeg' | 'png' | 'webp' | 'gif' | 'avif', Promise<Buffer>, readonly string[]])[] = [
    // No printer has such a green or blue.
    ['jpeg', source.clone().toColourspace('cmyk').jpeg().toBuffer(), ['red', 'grey', 'grey', 'white']],
    ['png', source.clone().toColourspace('rgb16').png().toBuffer(), coloured],
    ['png', source.clone().png({ palette: true }).toBuffer(), coloured],
    ['png', source.clone().png({ progressive: true }).toBuffer(), coloured],
    ['jpeg', source.clone().withIccProfile('p3').jpeg().toBuffer(), coloured],
    ['png', source.clone().withIccProfile('p3').png().toBuffer(), coloured],
    ['webp', source.clone().webp({ lossless: true }).toBuffer(), coloured],
    ['avif', source.clone().avif({ effort: 0 }).toBuffer(), coloured],
    ['gif', source.clone().gif().toBuffer(), coloured],
    ['png', source.clone().greyscale().threshold(200).png({ palette: true, colours: 2 }).toBuffer(), ['black', 'white', 'black', 'white']],
    ['jpeg', plain(64, 64, 'grey').greyscale().jpeg().toBuffer(), ['grey', 'grey', 'grey', 'grey']],
    ['webp', plain(1, 1, 'red').webp().toBuffer(), ['red', 'red', 'red', 'red']],
  ];
  for (const [format, made, colours] of rows) {
    for (const outputFormat of ['webp', 'jpeg'] as const) {
      const { variants } = await sharpImages({ format: outputFormat }).render(await made, request(format));
      const metadata = await sharp(variants[0]?.bytes).metadata();
      expect(metadata).toMatchObject({ format: outputFormat, space: 'srgb', depth: 'uchar', channels: 3 });
      expect(await coloursOf(variants[0]?.bytes)).toEqual(colours);
    }
  }
});

test('transparency is kept, also where JPEG is asked for; a channel that hides nothing is none', async () => {
  const clear = await plain(700, 400, { r: 255, g: 0, b: 0, alpha: 0 }).png().toBuffer();
  const opaque = await plain(700, 400, { r: 255, g: 0, b: 0, alpha: 1 }).png().toBuffer();
  expect((await sharp(opaque).metadata()).hasAlpha).toBe(true);
  for (const [format, whenClear, whenOpaque] of [
    ['webp', 'image/webp', 'image/webp'],
    ['jpeg', 'image/png', 'image/jpeg'],
  ] as const) {
    const images = sharpImages({ format });
    const seeThrough = await images.render(clear, request('png'));
    expect(seeThrough.hasAlpha).toBe(true);
    for (const { bytes, contentType } of seeThrough.variants) {
      expect(contentType).toBe(whenClear);
      expect(await coloursOf(bytes)).toEqual(Array(4).fill('clear'));
    }
    const solid = await images.render(opaque, request('png'));
    expect(solid).toMatchObject({ hasAlpha: false, source: { hasAlpha: true } });
    for (const { bytes, contentType } of solid.variants) {
      expect(contentType).toBe(whenOpaque);
      expect((await sharp(bytes).metadata()).hasAlpha).toBe(false);
    }
  }
});

test('as JPEG a picture has the extension and the subsampled colours of one', async () => {
  const { variants } = await sharpImages({ format: 'jpeg' }).render(await grainy(2500, 1000).png().toBuffer(), request('png'));
  expect(variants.map(({ name, extension, contentType }) => [name, extension, contentType])).toEqual(VARIANTS.map(({ name }) => [name, 'jpg', 'image/jpeg']));
  expect(await sharp(variants[0]?.bytes).metadata()).toMatchObject({ format: 'jpeg', chromaSubsampling: '4:2:0', width: 2048 });
});

test('the same picture makes the same bytes', async () => {
  const source = await grainy(1500, 700).jpeg().toBuffer();
  const [first, second] = await Promise.all([sharpImages().render(source, request('jpeg')), sharpImages().render(source, request('jpeg'))]);
  expect(first).toEqual(second);
});

test('a cancelled job ends with the reason of the cancel, also while it waits for room', async () => {
  const source = await plain(400, 400).png().toBuffer();
  const cancelled = AbortSignal.abort(new Error('cancelled'));
  await expect(sharpImages().render(source, request('png', { signal: cancelled }))).rejects.toThrow('cancelled');
});

test('with room for one picture only they are worked over one after the other, and all come through', async () => {
  const images = sharpImages({ maxPixelsInFlight: 1 });
  const source = await grainy(800, 600).jpeg().toBuffer();
  const cancel = new AbortController();
  const waiting = Promise.allSettled([undefined, cancel.signal, undefined].map((signal) => images.render(source, request('jpeg', signal && { signal }))));
  cancel.abort(new Error('taken away'));
  const [first, second, third] = await waiting;
  expect([first?.status, second?.status, third?.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});
