import type { WaveformRecord } from '../metadata.ts';

/** Samples a second of the sound that waveforms are drawn from: enough for peaks of speech and music, cheap to pass on. */
export const PCM_RATE = 8_000;

/** The most parts of a waveform; wider than any chat bubble, small enough for the message row. */
const MAX_PEAKS = 256;

/** A short note gets one part for each of these, so that it is not stretched into noise. */
const SHORTEST_PART_MS = 100;

/** The grain in which peaks are kept until the length is known: 10 ms. An hour takes 360,000 numbers. */
const GRAIN_SAMPLES = PCM_RATE / 100;

/** Gathers a sound as it is decoded. */
export interface WaveformMeter {
  /** Signed 16-bit little-endian, one channel, `PCM_RATE`; may be cut anywhere, also inside a sample. */
  add(chunk: Buffer): void;
  /** Exact, from the samples: containers may lie or not say. */
  readonly durationMs: number;
  readonly sampleCount: number;
  waveform(): WaveformRecord;
}

/** Makes an empty meter. */
export function createWaveformMeter(): WaveformMeter {
  const grains: number[] = [];
  let peak = 0;
  let inGrain = 0;
  let sampleCount = 0;
  let half: number | undefined;

  function sample(value: number): void {
    const volume = value < 0 ? -value : value;
    if (volume > peak) peak = volume;
    sampleCount += 1;
    inGrain += 1;
    if (inGrain === GRAIN_SAMPLES) {
      grains.push(peak);
      peak = 0;
      inGrain = 0;
    }
  }

  return {
    add(chunk) {
      let start = 0;
      if (half !== undefined && chunk.length > 0) {
        sample(Buffer.from([half, chunk.readUInt8(0)]).readInt16LE(0));
        half = undefined;
        start = 1;
      }
      const end = chunk.length - ((chunk.length - start) % 2);
      for (let offset = start; offset < end; offset += 2) sample(chunk.readInt16LE(offset));
      if (end < chunk.length) half = chunk.readUInt8(end);
    },
    get durationMs() {
      return Math.round((sampleCount * 1_000) / PCM_RATE);
    },
    get sampleCount() {
      return sampleCount;
    },
    waveform() {
      const all = inGrain > 0 ? [...grains, peak] : grains;
      const durationMs = Math.round((sampleCount * 1_000) / PCM_RATE);
      const count = Math.min(MAX_PEAKS, Math.max(1, Math.ceil(durationMs / SHORTEST_PART_MS)));
      const peaks = Buffer.alloc(count);
      for (const [index, volume] of all.entries()) {
        const part = Math.min(count - 1, Math.floor((index * count) / all.length));
        // -32768 has no positive twin: it is full scale as well.
        const scaled = Math.min(255, Math.round((volume * 255) / 32_767));
        if (scaled > peaks.readUInt8(part)) peaks.writeUInt8(scaled, part);
      }
      return { durationMs, peaks: peaks.toString('base64') };
    },
  };
}
