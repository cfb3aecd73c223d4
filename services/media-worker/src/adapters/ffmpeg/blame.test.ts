import { expect, test } from 'vitest';
import { ChildDied } from '../../sandbox/child.ts';
import { blame } from './blame.ts';
import { died } from './run.ts';

test.each([
  ['moov atom not found', 'corrupt'],
  ["[ffv1 @ 0x55] Codec (ffv1) not on whitelist 'h264,aac'", 'unsupported'],
  ["Stream map '0:a:0' matches no streams.", 'type_mismatch'],
  // The last line alone would be the machine's fault.
  ['Number of streams exceeds max_streams parameter (32)\noriginal: Cannot allocate memory', 'too_large'],
  ['Picture size 16384x16384 exceeds specified max pixel count 67108864', 'too_large'],
  ['[IMGUTILS @ 0x7f] Picture size 16384x16384 is invalid', 'too_large'],
  ['[IMGUTILS @ 0x7f] Picture size 0x0 is invalid', 'corrupt'],
  ['Error writing trailer: No space left on device', 'disk_full'],
  ['original: Cannot allocate memory', 'decoder_died'],
  ['bwrap: execvp /usr/bin/ffmpeg: No such file or directory', 'unavailable'],
  ['', 'corrupt'],
])('what ffmpeg says (%s) tells whose fault it is: %s', (stderr, code) => {
  expect(blame({ exitCode: 1, stderr }, 1)).toMatchObject({ code });
});

test('reasons are for people: no addresses, folders of ours or lists of what is allowed, and not long', () => {
  const stderr =
    "[mov @ 0x55d0c0ffee] bad\n    Last message repeated 1 times\nfile:/tmp/backhaul-media/17/job-a/original: Invalid data\n[x @ 0x1] Codec (x) not on whitelist 'a,b'";
  expect(blame({ exitCode: 1, stderr }, 1).message).toBe(
    "the file's codec is not supported: [mov] bad; original: Invalid data; [x] Codec (x) not on whitelist",
  );
  expect(blame({ exitCode: 1, stderr: 'x'.repeat(10_000) }, 1).message.length).toBeLessThan(600);
});

test.each([
  ['killed', 'decoder_died', 'crashed'],
  ['stalled', 'decoder_died', 'timeout'],
  ['wall_clock', 'decoder_died', 'timeout'],
  ['not_started', 'unavailable', 'unavailable'],
] as const)('a child that was %s is %s at first and then %s', (why, first, second) => {
  const codes = [1, 2, 3].map((attempt) => died(new ChildDied('x', why), attempt));
  expect(codes).toMatchObject([{ code: first }, { code: second }, { code: second }]);
});
