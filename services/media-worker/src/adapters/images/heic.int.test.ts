import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Images } from '@backhaul/jobs/media';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATH } from '../../sample-media.ts';
import { runChild } from '../../sandbox/child.ts';
import { type Toolchain, findToolchain } from '../ffmpeg/toolchain.ts';
import { sharpImages } from '../sharp-images.ts';
import { codeOf, coloursOf, grainy, quarters, request } from './test-pictures.ts';

const execute = promisify(execFile);
let root: string;
let toolchain: Toolchain;
let images: Images;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'heic-'));
  toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', heifConvert: 'heif-convert', path: PATH });
  images = sharpImages({ heic: decoderOf(toolchain) });
});
afterAll(() => rm(root, { recursive: true, force: true }));

function decoderOf({ heifConvert }: Toolchain) {
  if (heifConvert === undefined) throw new Error('heif-convert is missing: apt-get install libheif-examples');
  return { program: heifConvert, sandbox: toolchain, runChild };
}

/** As libheif's encoder makes them. */
async function heic(sources: readonly Sharp[], ...args: string[]): Promise<Buffer> {
  const folder = await mkdtemp(join(root, 'made-'));
  const names = sources.map((_, index) => join(folder, `${index}.png`));
  await Promise.all(sources.map((source, index) => source.png().toFile(names[index] ?? '')));
  const output = join(folder, 'made.heic');
  await execute('heif-enc', [...args, ...names, '-o', output]);
  return readFile(output);
}

async function render(source: Buffer, by = images) {
  const folder = await mkdtemp(join(root, 'job-'));
  return by.render(source, request('heic', { folder }));
}

/** The same file with one more property of its picture: one of HEIF's own ways to say how it is turned. */
function withProperty(source: Buffer, name: 'irot' | 'imir', value: number): Buffer {
  const bytes = Buffer.from(source);
  const property = Buffer.concat([Buffer.from([0, 0, 0, 9]), Buffer.from(name), Buffer.from([value])]);
  const start = (box: string) => bytes.indexOf(box) - 4;
  const grow = (at: number, by: number) => bytes.writeUInt32BE(bytes.readUInt32BE(at) + by, at);
  const endOfProperties = start('ipco') + bytes.readUInt32BE(start('ipco'));
  // Behind version, flags, number of entries and the item's id: how many properties it has, then one byte each.
  const count = start('ipma') + 18;
  const endOfList = count + 1 + bytes.readUInt8(count);
  const next = bytes.readUInt8(count) + 1;
  bytes.writeUInt8(next, count);
  grow(start('ipco'), property.length);
  grow(start('ipma'), 1);
  for (const box of ['iprp', 'meta']) grow(start(box), property.length + 1);
  // Where each item lies in the file: the pixels, EXIF. 18 bytes an item, as libheif writes them.
  const items = bytes.readUInt16BE(start('iloc') + 14);
  for (let item = 0; item < items; item++) grow(start('iloc') + 20 + 18 * item, property.length + 1);
  return Buffer.concat([
    bytes.subarray(0, endOfProperties),
    property,
    bytes.subarray(endOfProperties, endOfList),
    Buffer.from([0x80 | next]),
    bytes.subarray(endOfList),
  ]);
}

test('a HEIC picture goes the same road as every other, and nothing about its owner goes with it', async () => {
  const source = await heic([(await quarters(1500, 1000)).withExif({ IFD0: { Make: 'Phone' }, IFD3: { GPSLatitudeRef: 'N' } })]);
  expect(source.includes('Phone')).toBe(true);
  const image = await render(source);
  expect(image).toMatchObject({ width: 1500, height: 1000, animated: false, hasAlpha: false, warnings: [] });
  expect(image.source).toMatchObject({ width: 1500, height: 1000, codec: 'hevc', frames: 1 });
  expect(image.variants.map(({ name, width, height, contentType }) => [name, width, height, contentType])).toEqual([
    ['full', 1500, 1000, 'image/webp'],
    ['medium', 1024, 683, 'image/webp'],
    ['thumb', 320, 213, 'image/webp'],
  ]);
  for (const { bytes } of image.variants) {
    expect(await coloursOf(bytes)).toEqual(['red', 'lime', 'blue', 'white']);
    expect((await sharp(bytes).metadata()).exif).toBeUndefined();
  }
});

test.each([
  ['irot', 1, 'lime white red blue', true],
  ['irot', 2, 'white blue lime red', false],
  ['irot', 3, 'blue red white lime', true],
  ['imir', 0, 'blue white red lime', false],
  ['imir', 1, 'lime red white blue', false],
] as const)("it is turned as HEIF's own box %s %i says, and once", async (name, value, colours, swapped) => {
  // Phones say the same in EXIF once more, where it means nothing.
  const upright = await heic([(await quarters()).withMetadata({ orientation: 6 })]);
  const image = await render(withProperty(upright, name, value));
  expect([image.width, image.height]).toEqual(swapped ? [400, 600] : [600, 400]);
  for (const { bytes } of image.variants) expect((await coloursOf(bytes)).join(' ')).toBe(colours);
});

test("EXIF's orientation alone turns nothing in HEIF", async () => {
  const image = await render(await heic([(await quarters()).withMetadata({ orientation: 6 })]));
  expect([image.width, image.height]).toEqual([600, 400]);
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(['red', 'lime', 'blue', 'white']);
});

test('ten bits, transparency, odd sizes and the brand of a sequence', async () => {
  const deep = await render(await heic([(await quarters()).toColourspace('rgb16')], '-b', '10'));
  expect(await coloursOf(deep.variants[0]?.bytes)).toEqual(['red', 'lime', 'blue', 'white']);
  const clear = await render(await heic([(await quarters()).ensureAlpha(0)]));
  expect(clear.hasAlpha).toBe(true);
  expect(await coloursOf(clear.variants[0]?.bytes)).toEqual(Array(4).fill('clear'));
  const odd = await heic([grainy(321, 241)]);
  expect(await render(odd)).toMatchObject({ width: 321, height: 241, warnings: [] });
  odd.write('hevc', 8, 'latin1');
  expect(await render(odd)).toMatchObject({ width: 321, height: 241, warnings: [{ code: 'animation_still' }] });
});

test('of several pictures the one that is meant to be shown is taken', async () => {
  const two = await heic([grainy(300, 200), await quarters()]);
  expect(await render(two)).toMatchObject({ width: 300, height: 200 });
  // The box says which: version, flags, then the id.
  two.writeUInt16BE(2, two.indexOf('pitm') + 8);
  const image = await render(two);
  expect(image).toMatchObject({ width: 600, height: 400, animated: false });
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(['red', 'lime', 'blue', 'white']);
});

test('a worker without the decoder refuses by name, and one whose PATH has none is such a worker', async () => {
  const source = await heic([grainy(64, 64)]);
  expect(await codeOf(render(source, sharpImages()))).toBe('unsupported_heic');
  const without = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', heifConvert: 'no-such-program', path: PATH });
  expect(without.heifConvert).toBeUndefined();
});

test('too many pixels are refused before the decoder is started (E-08)', async () => {
  const source = await heic([grainy(200, 100)]);
  const never = { program: join(root, 'no-such-program'), sandbox: toolchain, runChild };
  expect(await codeOf(render(source, sharpImages({ maxPixels: 19_999, heic: never })))).toBe('too_large');
});

test('damaged ones are corrupt wherever they were cut', async () => {
  const source = await heic([grainy(200, 100)]);
  for (const part of [0.01, 0.05, 0.3, 0.6, 0.95]) {
    expect(await codeOf(render(source.subarray(0, Math.floor(source.length * part))))).toMatch(/^(corrupt|unsupported)$/);
  }
});

test('what the decoder leaves is only read if it is a file', async () => {
  const secret = join(root, 'secret.jpg');
  await writeFile(secret, await grainy(10, 10).jpeg().toBuffer());
  const linking = join(root, 'linking');
  await writeFile(linking, `#!/bin/sh\nfor output; do :; done\nln -s ${secret} "$output"\n`, { mode: 0o755 });
  const sandbox = { path: PATH, guards: { ...toolchain.guards, bwrap: false, filter: undefined } };
  const source = await heic([grainy(64, 64)]);
  expect(await codeOf(render(source, sharpImages({ heic: { program: linking, sandbox, runChild } })))).toBe('corrupt');
});

test('a decoder that dies once may do better, twice it is the picture', async () => {
  const dying = join(root, 'dying');
  await writeFile(dying, '#!/bin/sh\nkill -SEGV $$\n', { mode: 0o755 });
  const source = await heic([grainy(64, 64)]);
  const by = sharpImages({ heic: { program: dying, sandbox: { path: PATH, guards: { ...toolchain.guards, bwrap: false, filter: undefined } }, runChild } });
  await expect(by.render(source, request('heic', { folder: root }))).rejects.toMatchObject({ name: 'TransientMediaFailure', code: 'decoder_died' });
  expect(await codeOf(by.render(source, request('heic', { folder: root, attempt: 2 })))).toBe('crashed');
});
