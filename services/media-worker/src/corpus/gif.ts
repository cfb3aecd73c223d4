import { ascii, le16 } from './bytes.ts';

/** One picture of a hand-made GIF. */
interface GifFrame {
  /** 0 nothing said, 1 leave it, 2 clear to the background, 3 back to what was before. */
  readonly disposal?: number;
  readonly left?: number;
  readonly top?: number;
  readonly width: number;
  readonly height: number;
  /** The index of its one colour; 0 is see-through. */
  readonly colour: number;
  readonly delay?: number;
}

/** Each pixel as a code of its own: no dictionary. */
function pixels({ width, height, colour }: GifFrame): Buffer {
  const CLEAR = 4;
  const END = 5;
  // Two bits of colour make codes of three bits; a clear after every two pixels keeps them from growing.
  const codes: number[] = [];
  for (let index = 0; index < width * height; index++) {
    if (index % 2 === 0) codes.push(CLEAR);
    codes.push(colour & 3);
  }
  codes.push(END);
  const bytes: number[] = [];
  let [buffer, bits] = [0, 0];
  for (const code of codes) {
    buffer |= code << bits;
    bits += 3;
    for (; bits >= 8; bits -= 8, buffer >>= 8) bytes.push(buffer & 0xff);
  }
  if (bits > 0) bytes.push(buffer & 0xff);
  const blocks: Buffer[] = [Buffer.from([2])];
  for (let at = 0; at < bytes.length; at += 255) {
    const block = bytes.slice(at, at + 255);
    blocks.push(Buffer.from([block.length, ...block]));
  }
  return Buffer.concat([...blocks, Buffer.from([0])]);
}

/** A GIF that no encoder would write: sizes, disposals and counts as wanted. Four colours, the first of them see-through. */
export function handmadeGif(screen: { width: number; height: number }, frames: readonly GifFrame[], trailer: Buffer = ascii(';')): Buffer {
  const header = Buffer.concat([ascii('GIF89a'), le16(screen.width), le16(screen.height), Buffer.from([0x91, 0, 0])]);
  const palette = Buffer.from([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]);
  const loop = Buffer.concat([Buffer.from([0x21, 0xff, 11]), ascii('NETSCAPE2.0'), Buffer.from([3, 1, 0, 0, 0])]);
  const made = new Map<string, Buffer>();
  const parts = frames.map((frame) => {
    const { disposal = 0, left = 0, top = 0, width, height, delay = 10, colour } = frame;
    const key = `${width} ${height} ${colour}`;
    const coded = made.get(key) ?? pixels(frame);
    made.set(key, coded);
    const control = Buffer.concat([Buffer.from([0x21, 0xf9, 4, (disposal << 2) | 1]), le16(delay), Buffer.from([0, 0])]);
    return Buffer.concat([control, Buffer.from([0x2c]), le16(left), le16(top), le16(width), le16(height), Buffer.from([0]), coded]);
  });
  return Buffer.concat([header, palette, loop, ...parts, trailer]);
}
