import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { MediaWarning, SoundOutput, Sounds } from '@backhaul/jobs/media';
import { ChildDied, type ChildExit } from '../sandbox/child.ts';
import { type SoundSettings, audioArguments } from './ffmpeg/audio-arguments.ts';
import { blame } from './ffmpeg/blame.ts';
import { type FfmpegOptions, died, runFfmpeg } from './ffmpeg/run.ts';
import { takeSamples } from './ffmpeg/samples.ts';

const OUTPUTS: Readonly<Record<SoundSettings['format'], SoundOutput>> = {
  mp3: { contentType: 'audio/mpeg', extension: 'mp3' },
  aac: { contentType: 'audio/mp4', extension: 'm4a' },
};

/** What ffmpeg's demuxers say of a file that ends before its own header says so: those of MP4 and Matroska; the others cannot know. */
const ENDS_EARLY = /partial file|File ended prematurely/;

/** What ffmpeg says when its last bytes did not reach the disk. It ends with 0 all the same, and half of the sound is missing. */
const NOT_WRITTEN = /Error (?:writing trailer|closing file)/;

/** Sounds by ffmpeg: one process for the output and the samples, and none to look at the file first. */
export function ffmpegSounds(options: FfmpegOptions, settings: SoundSettings = { format: 'mp3' }): Sounds {
  return {
    output: OUTPUTS[settings.format],
    async convert(source, target, { maxDurationMs, pcmRate, attempt, signal, onPcm }) {
      const samples = join(dirname(target), 'samples');
      const args = audioArguments(source, { sound: target, samples }, { ...settings, maxDurationMs, pcmRate });
      const exit = await runFfmpeg(options, {
        program: options.toolchain.ffmpeg,
        args,
        source,
        attempt,
        signal,
      });
      if (exit.exitCode !== 0 || NOT_WRITTEN.test(exit.stderr)) throw blame(withoutCovers(exit), attempt);
      const decoded = (await takeSamples(samples, onPcm)) > 0;
      // A URL with nothing behind it would be published otherwise.
      if (decoded && (await sizeOf(target)) === 0) throw died(new ChildDied('ffmpeg decoded a sound and wrote nothing'), attempt);
      const warnings: MediaWarning[] = ENDS_EARLY.test(exit.stderr) ? [{ code: 'truncated', reason: 'the file ends before its sound does' }] : [];
      return { warnings };
    },
  };
}

async function sizeOf(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  return found?.size ?? 0;
}

/** That a cover's decoder stayed closed explains no failure, but that the sound's did. */
function withoutCovers(exit: ChildExit): ChildExit {
  if (exit.stderr.includes('Error while opening decoder')) return exit;
  const lines = exit.stderr.split('\n').filter((line) => !line.includes('not on whitelist'));
  return { ...exit, stderr: lines.join('\n') };
}
