import type { WaveformRecord } from '../metadata.ts';

/** Samples a second of the sound that waveforms are drawn from: enough for peaks of speech and music, cheap to pass on. */
export const PCM_RATE = 8_000;

/** The grain in which a sound is kept until its length is known: 10 ms. An hour takes 360,000 of them, some 9 MB. */
export const GRAIN_SAMPLES = PCM_RATE / 100;

/** The most parts of a waveform; wider than any chat bubble, small enough for the message row. */
const MAX_PEAKS = 256;

/** A short note gets one part for each of these, so that it is not stretched into noise. */
const SHORTEST_PART_SAMPLES = PCM_RATE / 10;

/** A sound, by grains of `GRAIN_SAMPLES`; the last one may be shorter. Samples are signed 16 bit. */
export interface SoundGrains {
  readonly sampleCount: number;
  /** The lowest sample of each grain. */
  readonly lows: readonly number[];
  /** The highest sample of each grain. */
  readonly highs: readonly number[];
  /** The sum of each grain's volumes: how far its samples are from 0. */
  readonly sums: readonly number[];
}

/** Gathers a sound as it is decoded. */
export interface WaveformMeter {
  /** Signed 16-bit little-endian, one channel, `PCM_RATE`; may be cut anywhere, also inside a sample. */
  add(chunk: Buffer): void;
  /** Exact, from the samples: containers may lie or not say. */
  readonly durationMs: number;
  readonly sampleCount: number;
  /** As a chat bubble shows it. */
  waveform(): WaveformRecord;
  /** In all its detail. */
  grains(): SoundGrains;
}

/** Makes an empty meter. */
export function createWaveformMeter(): WaveformMeter {
  const lows: number[] = [];
  const highs: number[] = [];
  const sums: number[] = [];
  let low = 32_767;
  let high = -32_768;
  let sum = 0;
  let inGrain = 0;
  let half: number | undefined;

  function gather(samples: Int16Array): void {
    for (let start = 0; start < samples.length;) {
      const end = Math.min(samples.length, start + GRAIN_SAMPLES - inGrain);
      for (let index = start; index < end; index++) {
        const value = samples[index] ?? 0;
        if (value < low) low = value;
        if (value > high) high = value;
        sum += value < 0 ? -value : value;
      }
      inGrain += end - start;
      start = end;
      if (inGrain === GRAIN_SAMPLES) {
        lows.push(low);
        highs.push(high);
        sums.push(sum);
        low = 32_767;
        high = -32_768;
        sum = 0;
        inGrain = 0;
      }
    }
  }

  function grains(): SoundGrains {
    const sampleCount = lows.length * GRAIN_SAMPLES + inGrain;
    if (inGrain === 0) return { sampleCount, lows, highs, sums };
    return { sampleCount, lows: [...lows, low], highs: [...highs, high], sums: [...sums, sum] };
  }

  return {
    add(chunk) {
      if (chunk.length === 0) return;
      let rest = chunk;
      if (half !== undefined) {
        gather(samplesOf(Buffer.from([half, rest.readUInt8(0)])));
        rest = rest.subarray(1);
      }
      half = rest.length % 2 === 1 ? rest.readUInt8(rest.length - 1) : undefined;
      gather(samplesOf(rest));
    },
    get durationMs() {
      return durationOf(lows.length * GRAIN_SAMPLES + inGrain);
    },
    get sampleCount() {
      return lows.length * GRAIN_SAMPLES + inGrain;
    },
    waveform: () => draw(grains()),
    grains,
  };
}

/** Of so many samples. */
function durationOf(sampleCount: number): number {
  return Math.round((sampleCount * 1_000) / PCM_RATE);
}

/** Our own waveform: the highest volume of each of up to 256 equal parts. */
export function draw(grains: SoundGrains): WaveformRecord {
  const count = Math.min(MAX_PEAKS, Math.max(1, Math.ceil(grains.sampleCount / SHORTEST_PART_SAMPLES)));
  // -32768 has no positive twin: it is full scale as well.
  const peaks = loudest(grains, count).map((volume) => Math.min(255, Math.round((volume * 255) / 32_767)));
  return { durationMs: durationOf(grains.sampleCount), peaks: Buffer.from(peaks).toString('base64') };
}

/** The highest volume of each of `count` equal parts, 0 to 32768; 0 where there is no sound at all. */
export function loudest({ lows, highs }: SoundGrains, count: number): number[] {
  return inParts(lows.length, count, (start, end) => {
    let volume = 0;
    for (let index = start; index < end; index++) volume = Math.max(volume, -(lows[index] ?? 0), highs[index] ?? 0);
    return volume;
  });
}

/** Cuts so many grains into `count` equal parts. Where there are fewer grains than parts, neighbours share one. */
export function inParts(grainCount: number, count: number, of: (start: number, end: number) => number): number[] {
  return Array.from({ length: count }, (_, part) => {
    const start = Math.floor((part * grainCount) / count);
    const end = Math.floor(((part + 1) * grainCount) / count);
    return of(start, Math.min(grainCount, Math.max(start + 1, end)));
  });
}

/** Every machine that Node runs on nowadays keeps numbers little-endian. A view where the bytes lie evenly in memory, else a copy. */
function samplesOf(bytes: Buffer): Int16Array {
  const count = Math.floor(bytes.length / 2);
  if (bytes.byteOffset % 2 === 0) return new Int16Array(bytes.buffer, bytes.byteOffset, count);
  return new Int16Array(Uint8Array.from(bytes.subarray(0, 2 * count)).buffer);
}
