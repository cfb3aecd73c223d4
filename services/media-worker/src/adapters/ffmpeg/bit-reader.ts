/** Reads bits one behind the other, as H.264 and AAC store their headers. */
export interface BitReader {
  /**
   * The next `count` bits, at most 32, the first one counting most.
   * @throws {RangeError} there are not as many
   */
  bits(count: number): number;
  flag(): boolean;
  /** A number of as many bits as it needs: `ue(v)` of ISO/IEC 14496-10, 9.1. */
  unsigned(): number;
  /** The same with a sign: `se(v)`. */
  signed(): number;
  skip(count: number): void;
  left(): number;
}

/** A reader of the first `bitCount` bits, all of them by default. */
export function bitReader(bytes: Uint8Array, bitCount = bytes.length * 8): BitReader {
  let at = 0;

  function bit(): number {
    if (at >= bitCount) throw new RangeError('read behind the last bit');
    const byte = bytes[at >> 3] ?? 0;
    return (byte >> (7 - (at++ & 7))) & 1;
  }

  const reader: BitReader = {
    bits(count) {
      let value = 0;
      // Not shifted: the 32nd bit would turn it negative.
      for (let index = 0; index < count; index++) value = value * 2 + bit();
      return value;
    },
    flag: () => bit() === 1,
    unsigned() {
      let zeros = 0;
      while (bit() === 0) zeros++;
      if (zeros > 31) throw new RangeError('a number of more than 32 bits');
      return 2 ** zeros - 1 + reader.bits(zeros);
    },
    signed() {
      const code = reader.unsigned();
      return code % 2 === 1 ? (code + 1) / 2 : -code / 2;
    },
    skip(count) {
      if (count > bitCount - at) throw new RangeError('skipped behind the last bit');
      at += count;
    },
    left: () => bitCount - at,
  };
  return reader;
}
