import { expect, test } from 'vitest';
import { grainy } from './test-pictures.ts';
import { release, toPixels } from './libvips.ts';

test('released pixels take no memory any more, unless others share it', async () => {
  const pixels = await toPixels(grainy(200, 100));
  expect(pixels.data.buffer.byteLength).toBe(60_000);
  release(pixels);
  expect(pixels.data.buffer.byteLength).toBe(0);
  const whole = Buffer.alloc(60_000, 1);
  const part = whole.subarray(0, 30_000);
  release({ data: part, width: 100, height: 100, channels: 3 });
  expect(whole.readUInt8(59_999)).toBe(1);
});
