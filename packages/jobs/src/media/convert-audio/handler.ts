import { join } from 'node:path';
import { mediaFailure } from '../failures.ts';
import { mediaHandler } from '../process.ts';
import type { OriginalFile } from '../ports.ts';
import { PCM_RATE, createWaveformMeter } from '../waveform/meter.ts';

/** The work of `media.convert-audio`. */
export const convertAudioHandler = mediaHandler<OriginalFile>({
  kind: 'audio',
  // A lossless original becomes smaller; a very dense one may become a little larger.
  roomFor: (sizeBytes) => 3 * sizeBytes,
  fetch: ({ originals }, key, folder, options) => originals.download(key, join(folder, 'original'), options),
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
    return {
      files: [{ name: 'audio', extension, contentType, body: { file: target } }],
      media: 'audio',
      warnings,
      details: { durationMs, waveform: meter.waveform() },
    };
  },
  async makeOnly(_names, _facts, original, folder, context) {
    return (await this.make(original, folder, context)).files;
  },
});
