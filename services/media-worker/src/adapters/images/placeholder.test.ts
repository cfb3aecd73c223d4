import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { thumbHashToApproximateAspectRatio, thumbHashToAverageRGBA } from 'thumbhash';
import { expect, test } from 'vitest';
import { sharpImages } from '../sharp-images.ts';
import { coloursOf, grainy, plain, quarters, request } from './test-pictures.ts';

const images = sharpImages();

function read(dataUri: string): Buffer {
  const [head, data = ''] = dataUri.split(',');
  expect(head).toBe('data:image/webp;base64');
  return Buffer.from(data, 'base64');
}

test('the placeholder has the proportions, the colours and the way up of the picture', async () => {
  const source = await (await quarters(1500, 1000)).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  const { placeholder } = await images.render(source, request('jpeg'));
  const hash = Buffer.from(placeholder.thumbhash, 'base64');
  expect(hash.length).toBeLessThanOrEqual(25);
  expect(thumbHashToApproximateAspectRatio(hash)).toBeCloseTo(2 / 3, 0);
  const { r, g, b, a } = thumbHashToAverageRGBA(hash);
  expect([r, g, b].every((part) => Math.abs(part - 0.5) < 0.1)).toBe(true);
  expect(a).toBe(1);
  const tiny = read(placeholder.dataUri);
  expect(await sharp(tiny).metadata()).toMatchObject({ format: 'webp', width: 21, height: 32, hasAlpha: false });
  expect(await coloursOf(tiny)).toEqual(['blue', 'red', 'white', 'lime']);
});

test('transparency shows in it', async () => {
  const { placeholder } = await images.render(await plain(400, 400, { r: 0, g: 0, b: 255, alpha: 0 }).png().toBuffer(), request('png'));
  expect(thumbHashToAverageRGBA(Buffer.from(placeholder.thumbhash, 'base64')).a).toBe(0);
  expect(await coloursOf(read(placeholder.dataUri))).toEqual(Array(4).fill('clear'));
});

test('it stays below 500 characters, also for noise, and has a size also for a line', async () => {
  const noise = await grainy(32, 32).ensureAlpha().png().toBuffer();
  for (const source of [noise, await grainy(320, 320).png().toBuffer(), await plain(1, 9000).png().toBuffer(), await plain(1, 1).png().toBuffer()]) {
    const { placeholder } = await images.render(source, request('png'));
    expect(placeholder.dataUri.length).toBeLessThan(500);
    expect((await sharp(read(placeholder.dataUri)).metadata()).width).toBeGreaterThan(0);
    expect(placeholder.thumbhash).toMatch(/^[A-Za-z0-9+/]{20,36}={0,2}$/);
  }
});

test('a picture of our own in a file gets one as well', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'placeholder-'));
  try {
    const file = join(folder, 'thumb.jpg');
    await (await quarters(320, 180)).jpeg().toFile(file);
    const { dataUri } = await images.placeholder(file, new AbortController().signal);
    expect(await coloursOf(read(dataUri))).toEqual(['red', 'lime', 'blue', 'white']);
    await expect(images.placeholder(file, AbortSignal.abort(new Error('cancelled')))).rejects.toThrow('cancelled');
  } finally {
    await rm(folder, { recursive: true });
  }
});
