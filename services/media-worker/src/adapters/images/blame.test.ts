import { mediaFailure } from '@backhaul/jobs/media';
import { expect, test } from 'vitest';
import { blameImage } from './blame.ts';

test.each([
  ['Input image exceeds pixel limit', 'too_large'],
  ['Input buffer contains unsupported image format', 'unsupported'],
  ['heif: Error while loading plugin: Support for this compression format has not been built in: HEVC (11.6003)', 'unsupported'],
  ['VipsJpeg: premature end of JPEG image', 'corrupt'],
  ['Input buffer has corrupt header: webp: unable to parse image', 'corrupt'],
  ['words that nobody has seen before', 'corrupt'],
])('what libvips says as %j is %s, whatever the try', (message, code) => {
  expect(blameImage(new Error(message), 1)).toMatchObject({ name: 'PermanentFailure', code });
  expect(blameImage(new Error(message), 2)).toMatchObject({ name: 'PermanentFailure', code });
});

test('too slow once may be the machine, twice is the picture', () => {
  const slow = new Error('timeout: 42% complete');
  expect(blameImage(slow, 1)).toMatchObject({ name: 'TransientMediaFailure', code: 'decoder_died', cause: slow });
  expect(blameImage(slow, 2)).toMatchObject({ name: 'PermanentFailure', code: 'timeout', cause: slow });
});

test("what is the machine's fault, or has been judged already, is passed on as it is", () => {
  for (const error of [new Error('VipsImage: out of memory'), new Error('ENOSPC: no space left'), mediaFailure('too_long', 'x'), 'no error at all']) {
    expect(blameImage(error, 2)).toBe(error);
  }
});
