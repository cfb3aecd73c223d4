import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { sharpImages } from '../sharp-images.ts';
import { codeOf, coloursOf, grainy, plain, quarters, request } from './test-pictures.ts';

const images = sharpImages();
const coloured = ['red', 'lime', 'blue', 'white'];

/** A segment behind a JPEG's start. */
function withSegment(jpeg: Buffer, marker: number, data: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(data.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, data, jpeg.subarray(2)]);
}

function pngChunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A PNG of one colour whose header and rows agree, however large. */
function flatPng(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // One bit of grey.
  header.writeUInt8(1, 8);
  const rows = deflateSync(Buffer.alloc((1 + Math.ceil(width / 8)) * height));
  const chunks = [pngChunk('IHDR', header), pngChunk('IDAT', rows), pngChunk('IEND', Buffer.alloc(0))];
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...chunks]);
}

test('a picture that claims more pixels than allowed is refused before it is decoded (E-01)', async () => {
  const before = process.resourceUsage().maxRSS;
  expect(await codeOf(images.render(flatPng(14_000, 14_000), request('png')))).toBe('too_large');
  expect(await codeOf(images.render(flatPng(30_000, 3_000), request('png')))).toBe('too_large');
  // In kilobytes: decoded, the first would take 196 MB.
  expect(process.resourceUsage().maxRSS - before).toBeLessThan(100_000);
  const small = sharpImages({ maxPixels: 10_000 });
  expect(await codeOf(small.render(flatPng(101, 100), request('png')))).toBe('too_large');
  expect(await codeOf(small.render(flatPng(100, 100), request('png')))).toBe('no failure');
});

test('a picture cut short at any point is corrupt (E-03)', async () => {
  const source = grainy(640, 480);
  for (const format of ['jpeg', 'png', 'webp'] as const) {
    const whole = await source.clone()[format]().toBuffer();
    for (let part = 0.02; part < 0.99; part += 0.06) {
      const code = await codeOf(images.render(whole.subarray(0, Math.floor(whole.length * part)), request(format)));
      expect([format, part, code]).toEqual([format, part, expect.stringMatching(/^(corrupt|unsupported)$/)]);
    }
  }
});

test.each([
  ['bytes behind its end', (jpeg: Buffer) => Buffer.concat([jpeg, Buffer.from('<script>alert(1)</script>')])],
  ['bytes before its end mark', (jpeg: Buffer) => Buffer.concat([jpeg.subarray(0, -2), Buffer.from([0, 1, 2, 3, 4]), jpeg.subarray(-2)])],
  ['filling before its end mark', (jpeg: Buffer) => Buffer.concat([jpeg.subarray(0, -2), Buffer.from([255, 255, 255]), jpeg.subarray(-2)])],
  ['EXIF that points nowhere', (jpeg: Buffer) => withSegment(jpeg, 0xe1, Buffer.from('Exif\0\0MM\0*\0\0\0\x08\xff\xffgarbage', 'latin1'))],
  ['empty EXIF', (jpeg: Buffer) => withSegment(jpeg, 0xe1, Buffer.from('Exif\0\0'))],
  [
    'a colour profile of nonsense',
    (jpeg: Buffer) => withSegment(jpeg, 0xe2, Buffer.concat([Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1'), Buffer.alloc(300, 7)])),
  ],
  ['an unknown value in the mark of Adobe', (jpeg: Buffer) => withSegment(jpeg, 0xee, Buffer.from('Adobe\0\0\0\0\0\0\x07', 'latin1'))],
  [
    "Samsung's scan header",
    (jpeg: Buffer) => {
      const patched = Buffer.from(jpeg);
      const at = patched.indexOf(Buffer.from([0xff, 0xda]));
      patched[at + 2 + patched.readUInt16BE(at + 2) - 1] = 1;
      return patched;
    },
  ],
])('a JPEG with %s is shown, and none of it goes on (E-04)', async (_what, harm) => {
  const jpeg = await (await quarters()).jpeg({ quality: 95 }).toBuffer();
  const image = await images.render(harm(jpeg), request('jpeg'));
  expect(image.warnings).toEqual([]);
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(coloured);
  for (const { bytes } of image.variants) expect(bytes.toString('latin1')).not.toMatch(/script|garbage/);
});

test('a JPEG without its end mark is shown with a warning, one that lacks its last rows is not', async () => {
  const jpeg = await (await quarters()).jpeg({ quality: 95 }).toBuffer();
  const image = await images.render(jpeg.subarray(0, -2), request('jpeg'));
  expect(image.warnings.map(({ code }) => code)).toEqual(['truncated']);
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(coloured);
  const grain = await grainy(640, 480).jpeg().toBuffer();
  expect(await codeOf(images.render(grain.subarray(0, -40), request('jpeg')))).toBe('corrupt');
});

test('a second picture behind the first, such as a gain map, is dropped', async () => {
  const jpeg = await (await quarters()).jpeg({ quality: 95 }).toBuffer();
  const behind = await plain(300, 200, 'black')
    .withExif({ IFD0: { Make: 'Secret' } })
    .jpeg()
    .toBuffer();
  const image = await images.render(Buffer.concat([withSegment(jpeg, 0xe2, Buffer.from('MPF\0II*\0')), behind]), request('jpeg'));
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(coloured);
  expect(image.variants[0]?.bytes.includes('Secret')).toBe(false);
});

test('PNG chunks that nobody understands do no harm; damaged pixels do', async () => {
  const png = await (await quarters()).png().toBuffer();
  const odd = ['gAMA', 'iCCP', 'zTXt', 'eXIf', 'pHYs'].map((name) => pngChunk(name, Buffer.from('garbage\0\0garbage')));
  const image = await images.render(Buffer.concat([png.subarray(0, 33), ...odd, png.subarray(33)]), request('png'));
  expect(await coloursOf(image.variants[0]?.bytes)).toEqual(coloured);
  const grain = await grainy(200, 200).png().toBuffer();
  grain.writeUInt8(grain.readUInt8(grain.length >> 1) ^ 1, grain.length >> 1);
  expect(await codeOf(images.render(grain, request('png')))).toBe('corrupt');
});

test('no loader but those of JPEG, PNG, WebP, GIF and AVIF is even tried (E-05)', async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><image href="file:///etc/passwd"/></svg>';
  const rows: readonly (readonly [string, Buffer])[] = [
    ['SVG', Buffer.from(svg)],
    ['SVG with a declaration', Buffer.from(`<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>${svg}`)],
    ['TIFF', await plain(10, 10).tiff().toBuffer()],
    ['TIFF, big-endian', Buffer.from('MM\0*\0\0\0\x08'.padEnd(100, '\0'), 'latin1')],
    ["libvips' own", Buffer.from('\x08\xf2\xa6\xb6'.padEnd(100, '\0'), 'latin1')],
    ['PDF', Buffer.from('%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF')],
    ['PostScript', Buffer.from('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n')],
    ['OpenEXR', Buffer.from('\x76\x2f\x31\x01\x02\0\0\0'.padEnd(100, '\0'), 'latin1')],
    ['Radiance', Buffer.from('#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\0\0\0\0')],
    ['PPM', Buffer.from('P6 2 2 255\n123456789012')],
    ['PGM in text', Buffer.from('P2 2 2 255\n1 2 3 4\n')],
    ['JPEG XL', Buffer.from('\xff\x0a\xfa\x1f\x01\x90\x08\x10\x10\0', 'latin1')],
    ['JPEG 2000', Buffer.from('\0\0\0\x0cjP  \r\n\x87\n'.padEnd(100, '\0'), 'latin1')],
    ['FITS', Buffer.from('SIMPLE  =                    T'.padEnd(2880))],
    ['Analyze', Buffer.alloc(348)],
    ['BMP', Buffer.from('BM'.padEnd(100, '\0'), 'latin1')],
    ['ICO', Buffer.from('\0\0\x01\0\x01\0'.padEnd(100, '\0'), 'latin1')],
    ['MVG', Buffer.from("push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/'\n")],
    ['CSV', Buffer.from('1,2\n3,4\n')],
    ['nothing', Buffer.from('nothing at all')],
  ];
  const codes = await Promise.all(rows.map(async ([name, bytes]) => [name, await codeOf(images.render(bytes, request('jpeg')))]));
  expect(codes).toEqual(rows.map(([name]) => [name, 'unsupported']));
  await expect(sharp(rows[2]?.[1]).metadata()).rejects.toThrow(/unsupported/);
});
