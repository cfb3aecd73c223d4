import fc from 'fast-check';
import { expect, test } from 'vitest';
import { beginsWithChannels, readAacConfig } from './aac-config.ts';

test.each([
  ['mono, 48 kHz, of ffmpeg', '118856e500', { channels: 1, sampleRate: 48_000 }],
  ['stereo, 48 kHz, of ffmpeg', '119056e500', { channels: 2, sampleRate: 48_000 }],
  ['stereo, 44.1 kHz, of phones', '1210', { channels: 2, sampleRate: 44_100 }],
  ['mono, 44.1 kHz, of phones', '1208', { channels: 1, sampleRate: 44_100 }],
  ['mono, 22.05 kHz, that says that there is no more', '138856e500', { channels: 1, sampleRate: 22_050 }],
])('%s is read', (_name, hex, expected) => {
  expect(readAacConfig(Buffer.from(hex, 'hex'))).toEqual(expected);
});

test.each([
  ['mono, 22.05 kHz, that may be 44.1 kHz', '1388'],
  ['HE-AAC that says so in front', '2b920800'],
  ['HE-AAC that says so behind', '131056e598'],
  ['5.1', '11b0'],
  ['channels of its own', '1180'],
  ['a rate of its own', '1780bb8010'],
  ['xHE-AAC', 'f94643227e'],
  ['blocks of 960 samples', '1194'],
  ['nothing', ''],
])('%s is left to ffprobe', (_name, hex) => {
  expect(readAacConfig(Buffer.from(hex, 'hex'))).toBeUndefined();
});

test.each([
  ['a single channel', '0110', 1, true],
  ['a pair', '2110', 2, true],
  ['a pair that was called one channel', '2110', 1, false],
  ['a single channel that was called a pair', '0110', 2, false],
  ['the name of the encoder, as ffmpeg writes it, then a pair', 'de02004c61766335392e33372e3130300042541fffff', 2, true],
  ['nothing', '', 1, false],
  ['only filling', 'c0c0c0', 1, false],
] as const)('%s at the beginning of a sound', (_name, hex, channels, plain) => {
  expect(beginsWithChannels(Buffer.from(hex, 'hex'), channels)).toBe(plain);
});

test('whatever the bytes, it answers', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      readAacConfig(Buffer.from(bytes));
      beginsWithChannels(Buffer.from(bytes), 1);
    }),
  );
});
