import type { Sounds } from '@backhaul/jobs/media';
import { audioArguments } from './ffmpeg/audio-arguments.ts';
import { blame } from './ffmpeg/blame.ts';
import { type FfmpegOptions, runFfmpeg } from './ffmpeg/run.ts';

/** Sounds by ffmpeg: one process for the output and the samples. */
export function ffmpegSounds(options: FfmpegOptions): Sounds {
  return {
    output: { contentType: 'audio/mpeg', extension: 'mp3' },
    async convert(source, target, { maxDurationMs, pcmRate, attempt, signal, onPcm }) {
      const args = audioArguments(source, target, { maxDurationMs, pcmRate });
      const exit = await runFfmpeg(options, { program: options.toolchain.ffmpeg, args, source, attempt, signal, onOutput: onPcm });
      if (exit.exitCode !== 0) throw blame(exit, attempt);
      return { warnings: [] };
    },
  };
}
