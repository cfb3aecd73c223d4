import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { handmadeGif } from '../../corpus/gif.ts';
import { sharpImages } from '../sharp-images.ts';
import { planAnimation } from './animation.ts';
import { animation, codeOf, coloursOf, grainy, plain, quarters, request } from './test-pictures.ts';

const images = sharpImages();
const COLOURS = ['red', 'lime', 'blue', 'white', 'black'];

/** One colour after the other. */
const flashing = (width: number, height: number, frames: number, encode: Parameters<typeof animation>[1]) =>
  animation(
    Array.from({ length: frames }, (_, index) => plain(width, height, COLOURS[index % COLOURS.length])),
    encode,
  );

test.each([
  ['gif', (joined: Sharp) => joined.gif({ delay: [100, 20, 500, 70, 2000], loop: 3 })],
  ['webp', (joined: Sharp) => joined.webp({ delay: [100, 20, 500, 70, 2000], loop: 3, lossless: true })],
] as const)('an animated %s goes on moving: every picture, its time, and how often', async (format, encode) => {
  const source = await flashing(600, 400, 5, encode);
  const image = await images.render(source, request(format));
  expect(image).toMatchObject({ width: 600, height: 400, animated: true, warnings: [], source: { width: 600, height: 400, frames: 5 } });
  expect(image.variants.map(({ name, width, height }) => [name, width, height])).toEqual([
    ['full', 600, 400],
    ['thumb', 320, 213],
  ]);
  const [full, thumb] = image.variants;
  expect(await sharp(full?.bytes).metadata()).toMatchObject({ format: 'webp', pages: 5, delay: [100, 20, 500, 70, 2000], loop: 3 });
  for (const [page, colour] of COLOURS.entries()) expect(await coloursOf(full?.bytes, page)).toEqual(Array(4).fill(colour));
  expect((await sharp(thumb?.bytes).metadata()).pages).toBeUndefined();
  expect(await coloursOf(thumb?.bytes)).toEqual(Array(4).fill('red'));
});

test('pictures that build on those before them, and see-through ones, come out as they are shown', async () => {
  const source = handmadeGif({ width: 40, height: 40 }, [
    // Left: stays. Then a part on top, which is cleared; then one which is taken back; then the last on what is left.
    { disposal: 1, left: 0, top: 0, width: 40, height: 20, colour: 1 },
    { disposal: 2, left: 0, top: 20, width: 20, height: 20, colour: 2 },
    { disposal: 3, left: 20, top: 20, width: 20, height: 20, colour: 3 },
    { disposal: 1, left: 20, top: 0, width: 20, height: 20, colour: 3 },
  ]);
  const { variants, hasAlpha } = await images.render(source, request('gif'));
  expect(hasAlpha).toBe(true);
  const shown = await Promise.all([0, 1, 2, 3].map((page) => coloursOf(variants[0]?.bytes, page)));
  expect(shown).toEqual([
    ['red', 'red', 'clear', 'clear'],
    ['red', 'red', 'lime', 'clear'],
    ['red', 'red', 'clear', 'blue'],
    ['red', 'blue', 'clear', 'clear'],
  ]);
});

test('as JPEG is asked for, what moves becomes a GIF and its still a JPEG', async () => {
  const source = await flashing(400, 300, 4, (joined) => joined.webp({ delay: [120, 120, 120, 120] }));
  const { variants } = await sharpImages({ format: 'jpeg' }).render(source, request('webp'));
  expect(variants.map(({ name, contentType, extension }) => [name, contentType, extension])).toEqual([
    ['full', 'image/gif', 'gif'],
    ['thumb', 'image/jpeg', 'jpg'],
  ]);
  expect(await sharp(variants[0]?.bytes).metadata()).toMatchObject({ format: 'gif', pages: 4, delay: [120, 120, 120, 120] });
});

test('a large animation is made smaller, and one that is small already has its still thumb all the same', async () => {
  const large = await images.render(await flashing(1300, 650, 3, (joined) => joined.gif()), request('gif'));
  expect(large.variants.map(({ name, width, height }) => [name, width, height])).toEqual([
    ['full', 1024, 512],
    ['thumb', 320, 160],
  ]);
  const small = await images.render(await flashing(40, 30, 3, (joined) => joined.gif()), request('gif'));
  expect(small.variants.map(({ name, width, height }) => [name, width, height])).toEqual([
    ['full', 40, 30],
    ['thumb', 40, 30],
  ]);
});

test('pictures that are too many are left out at the end, with a warning (E-02)', async () => {
  const source = handmadeGif(
    { width: 10, height: 10 },
    Array.from({ length: 10_000 }, (_, index) => ({ width: 10, height: 10, colour: 1 + (index % 3) })),
  );
  const image = await images.render(source, request('gif'));
  expect(image).toMatchObject({ animated: true, warnings: [{ code: 'animation_truncated' }], source: { frames: 10_000 } });
  expect((await sharp(image.variants[0]?.bytes).metadata()).pages).toBe(600);
});

test('pixels are counted over all pictures, before they are decoded (E-02)', async () => {
  const source = await flashing(100, 100, 5, (joined) => joined.gif());
  const within = async (maxPixels: number) => {
    const image = await sharpImages({ maxPixels }).render(source, request('gif'));
    const pages = (await sharp(image.variants[0]?.bytes).metadata()).pages ?? 1;
    return [pages, image.animated, image.warnings.map(({ code }) => code)];
  };
  expect(await within(50_000)).toEqual([5, true, []]);
  expect(await within(49_999)).toEqual([4, true, ['animation_truncated']]);
  expect(await within(30_000)).toEqual([3, true, ['animation_truncated']]);
  expect(await within(29_999)).toEqual([1, false, ['animation_still']]);
  expect(await within(10_000)).toEqual([1, false, ['animation_still']]);
  expect(await codeOf(sharpImages({ maxPixels: 9_999 }).render(source, request('gif')))).toBe('too_large');
});

test('of an animation with two pictures both are shown or one', () => {
  const plan = (maxFrames: number) => planAnimation({ format: 'gif', pages: 2, pixelsPerFrame: 10, turned: false }, { maxFrames, maxPixels: 1_000 }).frames;
  expect([plan(2), plan(1)]).toEqual([2, 1]);
});

test('pages of AVIF and HEIC are no animation', () => {
  for (const format of ['avif', 'heic', 'jpeg', 'png'] as const) {
    expect(planAnimation({ format, pages: 9, pixelsPerFrame: 10, turned: false }, { maxFrames: 600, maxPixels: 1_000 })).toEqual({ frames: 1, warnings: [] });
  }
});

test('an animation that lies on its side is shown as its first picture, upright', async () => {
  const lying = await quarters(600, 400);
  const source = await animation([lying, lying.clone().negate()], (joined) => joined.withMetadata({ orientation: 6 }).webp());
  const image = await images.render(source, request('webp'));
  expect(image).toMatchObject({ width: 400, height: 600, animated: false, warnings: [{ code: 'animation_still' }] });
  expect(image.variants.map(({ name }) => name)).toEqual(['full', 'thumb']);
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(['blue', 'red', 'white', 'lime']);
});

test('an animation with a damaged later picture is shown as its first, the same in a run that makes what is missing', async () => {
  const source = await animation([plain(1200, 900, 'red'), grainy(1200, 900)], (joined) => joined.webp({ lossless: true, effort: 0 }));
  // From behind the last picture's header on (8 bytes of RIFF, 5 of VP8L), where it says how it is coded: ones name the same
  // transform twice, which no decoder takes. Ones among the coded pixels are pixels, if the noise happens to allow it.
  source.fill(0xff, source.lastIndexOf('VP8L') + 13, source.length - 8);
  const image = await images.render(source, request('webp'));
  expect(image).toMatchObject({ animated: false, warnings: [{ code: 'animation_still' }] });
  expect(image.variants.map(({ name }) => name)).toEqual(['full', 'medium', 'thumb']);
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(Array(4).fill('red'));
  for (const variant of image.variants) {
    const again = await images.render(source, request('webp', { only: new Set([variant.name]) }));
    expect(again.variants).toEqual([variant]);
  }
});

test('a run that makes what is missing of an animation makes the same bytes', async () => {
  const source = await flashing(600, 400, 4, (joined) => joined.gif({ delay: [80, 80, 80, 80] }));
  const all = await images.render(source, request('gif'));
  for (const variant of all.variants) {
    const one = await images.render(source, request('gif', { only: new Set([variant.name]) }));
    expect(one).toEqual({ ...all, variants: [variant] });
  }
});

test('an animated PNG is told by its announcement, and shown as its first picture', async () => {
  const png = await plain(50, 50, 'red').png().toBuffer();
  // Length, name, pictures and repetitions, checksum: libpng passes over what it does not know.
  const control = Buffer.concat([Buffer.from([0, 0, 0, 8]), Buffer.from('acTL'), Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]), Buffer.from([0xf3, 0x8d, 0x93, 0x70])]);
  const image = await images.render(Buffer.concat([png.subarray(0, 33), control, png.subarray(33)]), request('png'));
  expect(image).toMatchObject({ animated: false, warnings: [{ code: 'animation_still' }] });
  const behind = await images.render(Buffer.concat([png, control]), request('png'));
  expect(behind.warnings).toEqual([]);
});

test('a sequence of AVIF is shown as the still that it holds', async () => {
  const avif = await (await quarters(200, 120)).avif({ effort: 0 }).toBuffer();
  avif.write('avis', 8, 'latin1');
  const image = await images.render(avif, request('avif'));
  expect(image).toMatchObject({ width: 200, height: 120, animated: false, warnings: [{ code: 'animation_still' }] });
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(['red', 'lime', 'blue', 'white']);
});
