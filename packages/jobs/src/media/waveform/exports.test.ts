import fc from 'fast-check';
import { expect, test } from 'vitest';
import WaveformData from 'waveform-data';
import { bbcWaveform, rowExports } from './exports.ts';
import { PCM_RATE, type SoundGrains, createWaveformMeter } from './meter.ts';

const ALL = ['discord', 'telegram', 'whatsapp'] as const;

function grainsOf(samples: Int16Array): SoundGrains {
  const meter = createWaveformMeter();
  meter.add(Buffer.from(samples.buffer));
  return meter.grains();
}

/** Parts of equal length, each of one volume. */
function steps(volumes: readonly number[], partSamples: number): Int16Array {
  return Int16Array.from({ length: volumes.length * partSamples }, (_, index) => (volumes[Math.floor(index / partSamples)] ?? 0) * (index % 2 === 0 ? 1 : -1));
}

function bytesOf(base64: string | undefined): number[] {
  return [...Buffer.from(base64 ?? '', 'base64')];
}

/** As tdesktop's `documentWaveformDecode` reads them. */
function fiveBits(base64: string | undefined): number[] {
  const packed = Buffer.concat([Buffer.from(base64 ?? '', 'base64'), Buffer.alloc(1)]);
  const count = Math.floor(((packed.length - 1) * 8) / 5);
  return Array.from({ length: count }, (_, index) => (packed.readUInt16LE(Math.floor((index * 5) / 8)) >> ((index * 5) % 8)) & 31);
}

const sounds = fc.oneof(
  fc.int16Array({ maxLength: 2_000 }),
  fc
    .tuple(fc.array(fc.integer({ min: 0, max: 32_767 }), { minLength: 1, maxLength: 400 }), fc.integer({ min: 1, max: 200 }))
    .map(([volumes, part]) => steps(volumes, part)),
);

test('nothing is made that nobody asked for', () => {
  const grains = grainsOf(steps([9_000], PCM_RATE));
  expect(rowExports(grains, [])).toEqual({});
  expect(rowExports(grains, ['bbc'])).toEqual({});
  expect(Object.keys(rowExports(grains, ['whatsapp', 'discord', 'whatsapp']))).toEqual(['whatsapp', 'discord']);
});

test("Discord's form has a byte for each 100 ms, 256 at most, and the exact length", () => {
  const short = rowExports(grainsOf(steps([32_767, 0, 16_384], PCM_RATE / 10)), ALL).discord;
  expect(short?.duration_secs).toBe(0.3);
  expect(bytesOf(short?.waveform)).toEqual([255, 0, 128]);
  expect(bytesOf(rowExports(grainsOf(steps([1_000], 60 * PCM_RATE)), ALL).discord?.waveform)).toHaveLength(256);
  expect(rowExports(grainsOf(new Int16Array(10_001)), ALL).discord?.duration_secs).toBe(1.250125);
});

test("Telegram's form is 100 values of 5 bits, lowest bits first", () => {
  // Every fourth bar is loud: 1.8 times the mean is 0.45 of it, so that it reaches the top.
  const volumes = Array.from({ length: 100 }, (_, bar) => (bar % 4 === 0 ? 20_000 : 0));
  const { telegram } = rowExports(grainsOf(steps(volumes, 160)), ALL);
  expect(bytesOf(telegram)).toHaveLength(63);
  expect(fiveBits(telegram)).toEqual(volumes.map((volume) => (volume === 0 ? 0 : 31)));
  // 31 in the bits 0 to 4, 20 to 24, 40 to 44, ..
  expect(bytesOf(telegram).slice(0, 6)).toEqual([0x1f, 0x00, 0xf0, 0x01, 0x00, 0x1f]);
});

test("Telegram's bars grow with the volume, and quiet sounds stay small", () => {
  const loud = fiveBits(rowExports(grainsOf(steps([0, 10_000, 20_000, 30_000], 2_000)), ALL).telegram);
  expect([loud[10], loud[30], loud[60], loud[99]]).toEqual([0, 11, 22, 31]);
  expect(Math.max(...fiveBits(rowExports(grainsOf(steps([250], 8_000)), ALL).telegram))).toBe(3);
});

test('Telegram gets no waveform of less than one sample a bar, as its own clients make none', () => {
  expect(rowExports(grainsOf(new Int16Array(99)), ALL)).not.toHaveProperty('telegram');
  expect(fiveBits(rowExports(grainsOf(new Int16Array(100)), ALL).telegram)).toHaveLength(100);
});

test("WhatsApp's form is 64 means, the loudest of them 100", () => {
  const bars = bytesOf(rowExports(grainsOf(steps([5_000, 20_000], 32 * 80)), ALL).whatsapp);
  expect(bars).toEqual([...Array<number>(32).fill(25), ...Array<number>(32).fill(100)]);
  // A click of one sample is no volume.
  const click = steps([0, 0], 32 * 80);
  click.fill(1_000);
  click[0] = 32_767;
  expect(bytesOf(rowExports(grainsOf(click), ALL).whatsapp).slice(0, 2)).toEqual([100, 71]);
});

test('silence is flat in every form, and a blink of sound has them all but one', () => {
  const silent = rowExports(grainsOf(new Int16Array(PCM_RATE)), ALL);
  expect(bytesOf(silent.discord?.waveform)).toEqual(Array<number>(10).fill(0));
  expect(fiveBits(silent.telegram)).toEqual(Array<number>(100).fill(0));
  expect(bytesOf(silent.whatsapp)).toEqual(Array<number>(64).fill(0));
  expect(rowExports(grainsOf(Int16Array.of(-32_768)), ALL)).toEqual({
    discord: { duration_secs: 1 / PCM_RATE, waveform: Buffer.of(255).toString('base64') },
    whatsapp: Buffer.alloc(64, 100).toString('base64'),
  });
});

test('every form keeps its length and its bounds, whatever the sound', () => {
  fc.assert(
    fc.property(sounds, (samples) => {
      const { discord, telegram, whatsapp } = rowExports(grainsOf(samples), ALL);
      expect(bytesOf(discord?.waveform)).toHaveLength(Math.min(256, Math.max(1, Math.ceil(samples.length / 800))));
      if (telegram !== undefined) expect(bytesOf(telegram)).toHaveLength(63);
      const bars = bytesOf(whatsapp);
      expect(bars).toHaveLength(64);
      expect(Math.max(...bars)).toBe(samples.some((sample) => sample !== 0) ? 100 : 0);
    }),
  );
});

test("BBC's own library loads our file, and makes the same of the same samples", async () => {
  const checked = fc.asyncProperty(
    sounds.filter((samples) => samples.length > 0),
    async (samples) => {
      const ours = bbcWaveform(grainsOf(samples));
      const loaded = WaveformData.create(JSON.parse(JSON.stringify(ours)) as never);
      const theirs = await drawnByLibrary(samples);
      expect(loaded.toJSON()).toEqual(theirs.toJSON());
      expect(loaded).toMatchObject({ sample_rate: PCM_RATE, scale: 80, bits: 8, channels: 1, length: Math.ceil(samples.length / 80) });
      // Whole grains: up to 10 ms more than there is.
      expect(loaded.duration - samples.length / PCM_RATE).toBeGreaterThanOrEqual(0);
      expect(loaded.duration - samples.length / PCM_RATE).toBeLessThan(0.01);
    },
  );
  await fc.assert(checked, { numRuns: 50 });
});

test("BBC's form holds both directions of the swing, and zooms out", () => {
  const samples = Int16Array.from({ length: PCM_RATE }, (_, index) => (index % 2 === 0 ? 16_384 : -32_768));
  const loaded = WaveformData.create(bbcWaveform(grainsOf(samples)) as never);
  expect(loaded.duration).toBe(1);
  expect(loaded.channel(0).min_array()).toEqual(Array<number>(100).fill(-127));
  expect(loaded.channel(0).max_array()).toEqual(Array<number>(100).fill(63));
  expect(loaded.resample({ scale: 800 }).channel(0).max_array()).toEqual(Array<number>(10).fill(63));
});

/** From the samples themselves, as a browser would do it with a decoded sound. */
function drawnByLibrary(samples: Int16Array): Promise<WaveformData> {
  const audioBuffer = {
    sampleRate: PCM_RATE,
    numberOfChannels: 1,
    length: samples.length,
    getChannelData: () => Float32Array.from(samples, (sample) => sample / 32_768),
  };
  return new Promise((resolve, reject) => {
    WaveformData.createFromAudio({ audio_buffer: audioBuffer as never, scale: 80, bits: 8, disable_worker: true }, (error, made) =>
      error === null || error === undefined ? resolve(made) : reject(error),
    );
  });
}
