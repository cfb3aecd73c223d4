import fc from 'fast-check';
import { expect, test } from 'vitest';
import { beginsPlainly, readAvcConfiguration } from './h264-parameters.ts';

/** Of files that x264 made; the names say how. */
const CONFIGURATIONS = {
  high: '0164000cffe100196764000cacd94141fb0110000003001000000301e0f142996001000568eae3f2c0fdf8f800',
  main: '014d400cffe10018674d400ceca0a0fd8088000003000800000300f078a14cb001000468eae3f2',
  constrainedBaseline: '0142c00cffe100166742c00cda0507ec0440000003004000000783c50aa801000468ce0fc8',
  fullHd: '0142c028ffe100196742c028da01e0089f970110000003001000000301e0f1832a01000468ce0fc8',
  cropped: '0142c00cffe100196742c00cda05421e22230110000003001000000301e0f142aa01000468ce0fc8',
  fullRange: '0142c00cffe100186742c00cda0507ec05b20000030002000003003c1e28554001000468ce0fc8',
  bt709: '0142c00cffe1001b6742c00cda0507ec05a808080a0000030002000003003c1e28554001000468ce0fc8',
  pixels4To3: '0142c00cffe100166742c00cda0507ec3840000003004000000783c50aa801000468ce0fc8',
  pixels16To11: '0142c00cffe100166742c00cda0507ec1040000003004000000783c50aa801000468ce0fc8',
  bufferDescribed: '0164000dffe100236764000dacd94141fb0110000003001000000301e602001e840007a1292ca01e28532c01000668ebe3cb22c0fdf8f800',
  ownScaling: '0164000cffe100196764000cacd94141fb0110000003001000000301e0f142996001000768ebe3cb3002c0fdf8f800',
};

const plainSet = readAvcConfiguration(Buffer.from(CONFIGURATIONS.high, 'hex'));

test.each<[keyof typeof CONFIGURATIONS, object]>([
  ['high', { profile: 'High', level: 12, width: 320, height: 240, pixelShape: '1:1', color: {}, lengthBytes: 4, pictureSets: new Set([0]) }],
  ['main', { profile: 'Main', level: 12, width: 320, height: 240 }],
  ['constrainedBaseline', { profile: 'Constrained Baseline', level: 12, width: 320, height: 240 }],
  ['fullHd', { level: 40, width: 1_920, height: 1_080 }],
  ['cropped', { width: 322, height: 242 }],
  ['fullRange', { color: { range: 'pc' } }],
  ['bt709', { color: { range: 'tv', space: 'bt709', transfer: 'bt709' } }],
  ['pixels4To3', { pixelShape: '4:3' }],
  ['pixels16To11', { pixelShape: '16:11' }],
  ['bufferDescribed', { level: 13, width: 320, height: 240 }],
  ['ownScaling', { profile: 'High', width: 320, height: 240 }],
])('%s is read', (name, expected) => {
  expect(readAvcConfiguration(Buffer.from(CONFIGURATIONS[name], 'hex'))).toMatchObject(expected);
});

test.each([
  ['interlaced', '014d4015ffe10017674d4015f40a087e5c0440000003004000000787c50aa801000468de0fc8'],
  ['interlaced, in High', '01640015ffe1001a67640015acd941410fcb8088000003000800000300f0f8a14cb001000668fba3cb22c0fdf8f800'],
  ['each picture may say that it is two halves', '0164000cffe100196764000cacd94141fb0110000003001000000301e1f142996001000668ebe3cb22c0fdf8f800'],
  ['HDR', '0142c00cffe1001b6742c00cda0507ec05a848904a0000030002000003003c1e28554001000468ce0fc8'],
  ['10 bits', '016e000cffe10019676e000ca6cd94141fb0110000030001000003001e0f14299601000668ebe3cb22c0fdfafa00'],
  ['4:2:2', '017a000cffe10019677a000cbcd94141fb0110000003001000000301e0f142996001000668ebe3cb22c0fef8f800'],
  ['lossless', '01f4000cffe1001867f4000caeb20283f60220000003002000000303c1e2854901000568ebc06bcbfdf8f800'],
  ['no sequence', '0142c00cffe001000468ce0fc8'],
  ['no picture set', '0142c00cffe100166742c00cda0507ec0440000003004000000783c50aa800'],
  ['two sequences', '0142c00cffe2000467420000000467420000'],
  ['nothing', ''],
])('%s is left to ffprobe', (_name, hex) => {
  expect(readAvcConfiguration(Buffer.from(hex, 'hex'))).toBeUndefined();
});

test('whatever the bytes, it answers', () => {
  const whole = Buffer.from(CONFIGURATIONS.bufferDescribed, 'hex');
  for (let length = 0; length < whole.length - 4; length++) expect(readAvcConfiguration(whole.subarray(0, length))).toBeUndefined();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (tail) => {
      readAvcConfiguration(Buffer.concat([whole.subarray(0, 12), tail]));
      if (plainSet !== undefined) beginsPlainly(Buffer.from(tail), 1_000, plainSet);
    }),
  );
});

/** A unit with its length in front. */
function unit(hex: string): Buffer {
  const bytes = Buffer.from(hex, 'hex');
  return Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
}

const KEY_PICTURE = unit('6588840a');

test.each<[string, Buffer[], boolean]>([
  ['a picture that stands alone', [KEY_PICTURE], true],
  ['a delimiter and a message in front', [unit('0910'), unit('060502686980'), KEY_PICTURE], true],
  ['a picture that needs another', [unit('419a2104')], false],
  ['a sequence of its own', [unit('6742c00cda0507ec'), KEY_PICTURE], false],
  ['a message that it is HDR after all', [unit('0693011280'), KEY_PICTURE], false],
  ['a picture set that is not there', [unit('65882000')], false],
  ['a length that leads behind the sample', [Buffer.from([0, 0, 255, 255, 0x65, 0x88, 0x84])], false],
  ['zeros', [Buffer.alloc(64)], false],
])('%s at the beginning of a video', (_name, units, plain) => {
  if (plainSet === undefined) throw new Error('the sample is not plain');
  const sample = Buffer.concat(units);
  expect(beginsPlainly(sample, sample.length, plainSet)).toBe(plain);
});
