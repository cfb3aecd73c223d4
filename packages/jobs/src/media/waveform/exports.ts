import type { WaveformExports } from '../metadata.ts';
import type { WaveformExport } from '../ports.ts';
import { GRAIN_SAMPLES, PCM_RATE, type SoundGrains, draw, inParts, loudest } from './meter.ts';

/** The forms that lie in the message row; `bbc` is too large for it and becomes a file. */
export function rowExports(grains: SoundGrains, wanted: readonly WaveformExport[]): WaveformExports {
  const exports: { -readonly [Name in keyof WaveformExports]: WaveformExports[Name] } = {};
  for (const name of new Set(wanted)) {
    switch (name) {
      case 'discord':
        exports.discord = discord(grains);
        break;
      case 'telegram': {
        const waveform = telegram(grains);
        if (waveform !== undefined) exports.telegram = waveform;
        break;
      }
      case 'whatsapp':
        exports.whatsapp = whatsapp(grains);
        break;
      case 'bbc':
        break;
    }
  }
  return exports;
}

/**
 * Two fields of a voice message's attachment: bytes in base64, at most one for
 * each 100 ms and 256 in all (discord/discord-api-docs, pull request 6082). Our
 * own waveform follows the same rule.
 */
function discord(grains: SoundGrains): NonNullable<WaveformExports['discord']> {
  return { duration_secs: grains.sampleCount / PCM_RATE, waveform: draw(grains).peaks };
}

const TELEGRAM_BARS = 100;

/** What is quieter than this (of 32768) looks quiet, also where nothing is louder. */
const TELEGRAM_FLOOR = 2_500;

/**
 * The 63 bytes of `documentAttributeAudio.waveform`, in base64: 100 values of 5
 * bits, the first in the lowest bits of the first byte. Full height is 1.8
 * times the mean, as telegramdesktop/tdesktop draws its own recordings
 * (`documentWaveformEncode5bit`, `audioCountWaveform`). undefined for less than
 * one sample a bar.
 */
function telegram(grains: SoundGrains): string | undefined {
  if (grains.sampleCount < TELEGRAM_BARS) return undefined;
  const volumes = loudest(grains, TELEGRAM_BARS);
  const full = Math.max(TELEGRAM_FLOOR, Math.floor((1.8 * volumes.reduce((sum, volume) => sum + volume, 0)) / TELEGRAM_BARS));
  return packFiveBits(volumes.map((volume) => Math.floor((Math.min(volume, full) * 31) / full))).toString('base64');
}

/** Packs values of 0 to 31, lowest bits first. */
function packFiveBits(values: readonly number[]): Buffer {
  const packed = Buffer.alloc(Math.ceil((values.length * 5) / 8) + 1);
  for (const [index, value] of values.entries()) {
    const at = Math.floor((index * 5) / 8);
    packed.writeUInt16LE(packed.readUInt16LE(at) | (value << ((index * 5) % 8)), at);
  }
  // The spare byte is for the last value, which is written as two.
  return packed.subarray(0, -1);
}

const WHATSAPP_BARS = 64;

/**
 * `audioMessage.waveform` in base64: 64 bytes of 0 to 100, the mean volume of
 * each part, scaled so that the loudest is 100 (WhiskeySockets/Baileys,
 * `getAudioWaveform`).
 */
function whatsapp({ sums, sampleCount }: SoundGrains): string {
  const samplesIn = (index: number) => Math.min(GRAIN_SAMPLES, sampleCount - index * GRAIN_SAMPLES);
  const means = inParts(sums.length, WHATSAPP_BARS, (start, end) => {
    let sum = 0;
    let samples = 0;
    for (let index = start; index < end; index++) {
      sum += sums[index] ?? 0;
      samples += samplesIn(index);
    }
    return samples === 0 ? 0 : sum / samples;
  });
  const full = Math.max(...means);
  // Silence has no loudest part.
  return Buffer.from(means.map((mean) => (full === 0 ? 0 : Math.floor(100 * (mean / full))))).toString('base64');
}

/** What peaks.js and waveform-data.js load. */
export interface BbcWaveform {
  readonly version: 2;
  readonly channels: 1;
  readonly sample_rate: number;
  readonly samples_per_pixel: number;
  readonly bits: 8;
  /** Pairs in `data`. */
  readonly length: number;
  /** The lowest and the highest sample of each 10 ms, -128 to 127. */
  readonly data: readonly number[];
}

/** BBC's audiowaveform, version 2 (bbc/audiowaveform, doc/DataFormat.md). Scaled as waveform-data.js does it. */
export function bbcWaveform({ lows, highs }: SoundGrains): BbcWaveform {
  const scaled = (sample: number) => Math.floor((127 * sample) / 32_768);
  return {
    version: 2,
    channels: 1,
    sample_rate: PCM_RATE,
    samples_per_pixel: GRAIN_SAMPLES,
    bits: 8,
    length: lows.length,
    data: lows.flatMap((low, index) => [scaled(low), scaled(highs[index] ?? 0)]),
  };
}
