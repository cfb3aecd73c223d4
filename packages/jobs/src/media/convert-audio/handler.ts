import { join } from 'node:path';
import { PermanentFailure } from '@backhaul/queue/job';
import { mediaHandler } from '../process.ts';
import type { OriginalFile } from '../ports.ts';
import { PCM_RATE, createWaveformMeter } from './waveform.ts';

/** The work of `media.convert-audio`. */
export const convertAudioHandler = mediaHandler<OriginalFile>({
  kind: 'audio',
  fetch: ({ originals }, key, folder, options) => originals.download(key, join(folder, 'original'), options),
  head: ({ head }) => head,
  async make({ file, format, sizeBytes }, folder, { ports, signal }) {
    const target = join(folder, 'audio.mp3');
    const maxDurationMs = ports.limits.maxDurationMs.audio;
    const meter = createWaveformMeter();
    await ports.transcoder.toMp3({ file, format, sizeBytes }, target, { maxDurationMs, pcmRate: PCM_RATE, signal, onPcm: meter.add });
    const { durationMs } = meter;
    if (meter.sampleCount === 0) throw new PermanentFailure('empty', 'the file holds no sound');
    if (durationMs > maxDurationMs) throw new PermanentFailure('too_long', `the sound is longer than the ${maxDurationMs} ms that are accepted`);
    return {
      files: [{ name: 'audio', extension: 'mp3', contentType: 'audio/mpeg', body: { file: target } }],
      media: 'audio',
      details: { durationMs, waveform: meter.waveform() },
    };
  },
});
