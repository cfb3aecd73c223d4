import { join } from 'node:path';
import { mediaHandler } from '../process.ts';
import type { OriginalFile } from '../ports.ts';

/** The work of `media.transcode-video`. On disk: an MP4's index may lie at its end, so both sides must be able to seek. */
export const transcodeVideoHandler = mediaHandler<OriginalFile>({
  kind: 'video',
  fetch: ({ originals }, key, folder, options) => originals.download(key, join(folder, 'original'), options),
  head: ({ head }) => head,
  async make({ file, format, sizeBytes }, folder, { ports, signal, progress }) {
    const targets = { video: join(folder, 'video.mp4'), poster: join(folder, 'poster.jpg') };
    const result = await ports.transcoder.toMp4({ file, format, sizeBytes }, targets, {
      maxDurationMs: ports.limits.maxDurationMs.video,
      signal,
      // 10 to 85: what lies before and after is fetching and storing.
      progress: (percent) => progress(10 + percent * 0.75),
    });
    const { width, height, durationMs, fps, hasAudio, mode, source } = result;
    return {
      files: [
        { name: 'video', extension: 'mp4', contentType: 'video/mp4', body: { file: targets.video }, width, height },
        { name: 'poster', extension: 'jpg', contentType: 'image/jpeg', body: { file: targets.poster }, width: result.posterWidth, height: result.posterHeight },
      ],
      media: 'video',
      thumbnail: 'poster',
      details: { width, height, durationMs, fps, hasAudio, mode, source },
    };
  },
});
