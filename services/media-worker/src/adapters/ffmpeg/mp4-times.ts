/** How long something lasts by its own clock. */
export interface Length {
  readonly ticks: number;
  readonly ticksPerSecond: number;
}

/** Whether a clock runs, and its length is known: all ones mean that it is not (ISO/IEC 14496-12, 8.4.2.3). */
export function isClock({ ticksPerSecond, ticks }: Length): boolean {
  return ticksPerSecond > 0 && ticksPerSecond < 2 ** 31 && ticks > 0 && ticks < 2 ** 53 && ticks !== 2 ** 32 - 1;
}

/** Whether a header has the length that goes with its version. */
export function hasLength(header: Buffer, narrow: number, wide: number): boolean {
  const version = header.readUInt8(0);
  return (version === 0 && header.length === narrow) || (version === 1 && header.length === wide);
}

/** As ffprobe writes lengths, with six decimals. */
export function secondsOf({ ticks, ticksPerSecond }: Length): number {
  return Number((ticks * (1 / ticksPerSecond)).toFixed(6));
}

/** `value` times `by` through `through`, as ffmpeg rounds. */
export function rescale(value: number, by: number, through: number): number {
  return Number((BigInt(value) * BigInt(by) + BigInt(through) / 2n) / BigInt(through));
}
