import { expect, test } from 'vitest';
import { magicBytes } from './magic-bytes.ts';

const ftyp = (brand: string) => Buffer.from(`\0\0\0\x18ftyp${brand}\0\0\x02\0${brand}mp41`, 'latin1');
const ebml = (type: string) =>
  Buffer.concat([Buffer.from('1a45dfa3', 'hex'), Buffer.from([0x80 | (type.length + 3), 0x42, 0x82, 0x80 | type.length]), Buffer.from(type)]);

test.each([
  ['jpeg', Buffer.from('ffd8ffe000104a4649460001', 'hex')],
  ['gif', Buffer.from('GIF89a\x01\0\x01\0', 'latin1')],
  ['webp', Buffer.from('RIFF\x1a\0\0\0WEBPVP8L', 'latin1')],
  ['avif', ftyp('avif')],
  ['heic', ftyp('heic')],
  ['mp4', ftyp('isom')],
  ['mp4', ftyp('qt  ')],
  ['mp4', ftyp('M4A ')],
  ['mp4', ftyp('3gp4')],
  ['matroska', ebml('webm')],
  ['matroska', ebml('matroska')],
  ['wav', Buffer.from('RIFF\x24\0\0\0WAVEfmt ', 'latin1')],
  ['amr', Buffer.from('#!AMR\n')],
  ['flac', Buffer.from('fLaC\0\0\0\x22', 'latin1')],
  ['mp3', Buffer.from('ID3\x04\0\0\0\x7f\x7f\x7f', 'latin1')],
  ['other', Buffer.from('%PDF-1.7\n')],
  ['other', Buffer.from('PK\x03\x04\x14\0\0\0', 'latin1')],
] as const)('%s is told by its first bytes', async (format, head) => {
  expect(await magicBytes.sniff(Buffer.concat([head, Buffer.alloc(300)]))).toBe(format);
});

test('text, playlists and noise are of no format, and never an exception', async () => {
  for (const head of ['#EXTM3U\n', 'ffconcat version 1.0\n', '<html>', 'x', '\0\0\0\0']) {
    expect([undefined, 'other']).toContain(await magicBytes.sniff(Buffer.from(head)));
  }
  expect(await magicBytes.sniff(Buffer.alloc(0))).toBeUndefined();
});
