import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { mediaHandler } from '../process.ts';
import type { MadeFile } from '../recipe.ts';
import type { OriginalFile } from '../ports.ts';
import { PCM_RATE, createWaveformMeter } from '../waveform/meter.ts';

/** An hour of samples, and a little. */
const MOST_SAMPLES_BYTES = 64 * 1024 ** 2;

/** The work of `media.transcode-video`. On disk: an MP4's index may lie at its end, so both sides must be able to seek. */
export const transcodeVideoHandler = mediaHandler<OriginalFile>({
  kind: 'video',
  // The original, what is made of it, that once more while its index is moved to the front, and its sound as samples.
  roomFor: (sizeBytes) => 3 * sizeBytes + Math.min(sizeBytes, MOST_SAMPLES_BYTES),
  fetch: (original, folder, options) => original.download(join(folder, 'original'), options),
  head: ({ head }) => head,
  async make({ file, format, sizeBytes }, folder, { ports, signal, attempt, progress }) {
    const targets = targetsIn(folder);
    const meter = createWaveformMeter();
    const result = await ports.videos.toMp4({ file, format, sizeBytes }, targets, {
      maxDurationMs: ports.limits.maxDurationMs.video,
      attempt,
      signal,
      pcmRate: PCM_RATE,
      onPcm: meter.add,
      // 10 to 85: what lies before and after is fetching and storing.
      progress: (percent) => progress(10 + percent * 0.75),
    });
    const { width, height, durationMs, fps, hasAudio, road, source, poster, thumb, warnings } = result;
    const made = await stat(targets.video);
    return {
      files: [
        { name: 'video', extension: 'mp4', contentType: 'video/mp4', body: { file: targets.video }, width, height },
        { name: 'poster', extension: 'jpg', contentType: 'image/jpeg', body: { file: targets.poster }, ...poster },
        { name: 'thumb', extension: 'jpg', contentType: 'image/jpeg', body: { file: targets.thumb }, ...thumb },
      ],
      media: 'video',
      thumbnail: 'poster',
      warnings,
      details: {
        width,
        height,
        durationMs,
        fps,
        hasAudio,
        road,
        videoCodec: 'h264',
        audioCodec: hasAudio ? 'aac' : null,
        bitRate: durationMs === 0 ? null : Math.round((made.size * 8_000) / durationMs),
        ...(meter.sampleCount === 0 ? {} : { waveform: meter.waveform() }),
        placeholder: await ports.images.placeholder(targets.thumb, signal),
        source,
      },
    };
  },
  async makeOnly(names, _facts, original, folder, context) {
    if (names.has('video')) return (await this.make(original, folder, context)).files.filter(({ name }) => names.has(name));
    const { ports, signal, attempt } = context;
    const targets = targetsIn(folder);
    await ports.videos.toStills(original, targets, { maxDurationMs: ports.limits.maxDurationMs.video, attempt, signal });
    const stills: MadeFile[] = [
      { name: 'poster', extension: 'jpg', contentType: 'image/jpeg', body: { file: targets.poster } },
      { name: 'thumb', extension: 'jpg', contentType: 'image/jpeg', body: { file: targets.thumb } },
    ];
    return stills.filter(({ name }) => names.has(name));
  },
});

function targetsIn(folder: string) {
  return { video: join(folder, 'video.mp4'), poster: join(folder, 'poster.jpg'), thumb: join(folder, 'thumb.jpg') };
}
