import { join } from 'node:path';
import { mediaFailure } from '../failures.ts';
import { mediaHandler } from '../process.ts';
import type { MadeFile } from '../recipe.ts';
import type { OriginalFile } from '../ports.ts';
import { bbcWaveform, rowExports } from '../waveform/exports.ts';
import { PCM_RATE, type WaveformMeter, createWaveformMeter } from '../waveform/meter.ts';

/** An hour at 64 kbit/s, its samples, and a little. */
const MOST_MADE_BYTES = 96 * 1024 ** 2;

/** The work of `media.convert-audio`. */
export const convertAudioHandler = mediaHandler<OriginalFile>({
  kind: 'audio',
  // A lossless original becomes smaller; speech at a few kbit/s grows to 64, beside 128 of samples.
  roomFor: (sizeBytes) => sizeBytes + Math.min(64 * sizeBytes, MOST_MADE_BYTES),
  fetch: (original, folder, options) => original.download(join(folder, 'original'), options),
  head: ({ head }) => head,
  async make({ file, format, sizeBytes }, folder, { ports, signal, attempt }) {
    const { contentType, extension } = ports.sounds.output;
    const target = join(folder, `audio.${extension}`);
    const maxDurationMs = ports.limits.maxDurationMs.audio;
    const meter = createWaveformMeter();
    const { warnings } = await ports.sounds.convert({ file, format, sizeBytes }, target, {
      maxDurationMs,
      attempt,
      signal,
      pcmRate: PCM_RATE,
      onPcm: meter.add,
    });
    const { durationMs } = meter;
    if (meter.sampleCount === 0) throw mediaFailure('empty', 'the file holds no sound');
    if (durationMs > maxDurationMs) throw mediaFailure('too_long', `the sound is longer than the ${maxDurationMs} ms that are accepted`);
    const wanted = ports.settings.waveformExports;
    const exports = rowExports(meter.grains(), wanted);
    return {
      files: [{ name: 'audio', extension, contentType, body: { file: target } }, ...(wanted.includes('bbc') ? [waveformFile(meter)] : [])],
      media: 'audio',
      warnings,
      details: { durationMs, waveform: { ...meter.waveform(), ...(Object.keys(exports).length === 0 ? {} : { exports }) } },
    };
  },
  async makeOnly(names, _facts, original, folder, context) {
    // Earlier outputs decide what is made again, whatever the settings say now.
    const settings = { ...context.ports.settings, waveformExports: names.has('waveform') ? (['bbc'] as const) : [] };
    const { files } = await this.make(original, folder, { ...context, ports: { ...context.ports, settings } });
    return files.filter(({ name }) => names.has(name));
  },
});

/** For players that zoom into a sound. */
function waveformFile(meter: WaveformMeter): MadeFile {
  return { name: 'waveform', extension: 'json', contentType: 'application/json', body: Buffer.from(JSON.stringify(bbcWaveform(meter.grains()))) };
}
