import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PCM_RATE, createWaveformMeter } from './meter.ts';

function pcm(samples: readonly number[]): Buffer {
  return Buffer.from(Int16Array.from(samples).buffer);
}

function peaksOf(samples: readonly number[]): number[] {
  const meter = createWaveformMeter();
  meter.add(pcm(samples));
  return [...Buffer.from(meter.waveform().peaks, 'base64')];
}

const second = (volume: number) => Array.from({ length: PCM_RATE }, () => volume);

test('the length is that of the samples, and a part stands for at least 100 ms', () => {
  const meter = createWaveformMeter();
  meter.add(pcm(second(1_000)));
  expect(meter.waveform().durationMs).toBe(1_000);
  expect(peaksOf(second(1_000))).toHaveLength(10);
});

test('a long sound has 256 parts', () => {
  expect(peaksOf(Array.from({ length: 60 }, () => second(1)).flat())).toHaveLength(256);
});

test('loud and quiet halves look so; full scale is 255 in both directions and silence is 0', () => {
  const peaks = peaksOf([...second(-32_768), ...second(0), ...second(32_767), ...second(16_384)]);
  expect(peaks).toEqual([...Array<number>(10).fill(255), ...Array<number>(10).fill(0), ...Array<number>(10).fill(255), ...Array<number>(10).fill(128)]);
});

test('a blink of sound, and none at all, have one part', () => {
  expect(peaksOf([32_767])).toEqual([255]);
  expect(peaksOf([])).toEqual([0]);
});

test('a sound of any length has a part for each 100 ms begun, at least 1 and at most 256', () => {
  fc.assert(
    fc.property(fc.oneof(fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: 203_000, max: 206_000 })), (length) => {
      expect(peaksOf(Array<number>(length).fill(1_000))).toEqual(Array<number>(Math.min(256, Math.max(1, Math.ceil(length / 800)))).fill(length === 0 ? 0 : 8));
    }),
    { numRuns: 30 },
  );
});

test('the highest peak is the loudest sample, and every sample is in some part', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9_000 }), fc.nat(), fc.integer({ min: -32_768, max: 32_767 }), (length, at, value) => {
      const samples = Array<number>(length).fill(0);
      samples[at % length] = value;
      const peaks = peaksOf(samples);
      expect(Math.max(...peaks)).toBe(Math.min(255, Math.round((Math.abs(value) * 255) / 32_767)));
      expect(peaks.filter((peak) => peak > 0).length).toBeLessThanOrEqual(1);
    }),
  );
});

test('where the stream is cut changes nothing, also inside a sample', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -32_768, max: 32_767 }), { maxLength: 3_000 }),
      fc.array(fc.integer({ min: 1, max: 999 }), { maxLength: 20 }),
      (samples, cuts) => {
        const whole = createWaveformMeter();
        whole.add(pcm(samples));
        const pieces = createWaveformMeter();
        let rest = pcm(samples);
        for (const cut of cuts) {
          pieces.add(rest.subarray(0, cut));
          rest = rest.subarray(cut);
        }
        pieces.add(rest);
        expect(pieces.waveform()).toEqual(whole.waveform());
        expect(pieces.grains()).toEqual(whole.grains());
        expect(pieces.sampleCount).toBe(samples.length);
      },
    ),
  );
});
