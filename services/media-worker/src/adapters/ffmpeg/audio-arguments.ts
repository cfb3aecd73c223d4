import { ANONYMOUS, GLOBAL, PROGRESS, SOUND_DECODERS, type Source, input, seconds } from './input.ts';
import { samplesOutput } from './samples.ts';

/** What sounds become. */
export interface SoundSettings {
  /** `mp3`, or `aac` in an MP4 (.m4a). Both mono at 64 kbit/s. */
  readonly format: 'mp3' | 'aac';
  /** Bring every sound to this loudness (EBU R 128, -70 to -5). Left as it is by default: it costs nearly three times the CPU. */
  readonly loudnessLufs?: number | undefined;
}

/** Every browser and phone decodes MP3 at these rates; lower ones (MPEG-2.5) not everywhere. */
const RATES = '48000|44100|32000|24000|22050|16000';

/**
 * Samples follow each other without gaps, whatever the file says about their
 * times: -t would wait for ever for the end of a sound whose clock stands
 * still, and AAC's length would differ from that of its samples.
 */
const COUNT_SAMPLES = 'asetpts=N/SR/TB';

/** Players refuse a file of one block or none, which is what a tap on the button would make. Its length is told by the samples, without this silence. */
const AT_LEAST = 'apad=whole_dur=0.05';

/** True peaks stay below full scale, as EBU R 128 asks; the range is the filter's own default for speech and music. */
function loudnorm(lufs: number): string {
  return `loudnorm=I=${lufs}:TP=-1.5:LRA=11`;
}

/** Where a sound goes: the output, and the samples that the waveform is drawn from. */
export interface SoundTargets {
  readonly sound: string;
  readonly samples: string;
}

/** One process for both. */
export function audioArguments(
  source: Source,
  targets: SoundTargets,
  { maxDurationMs, pcmRate, format, loudnessLufs }: SoundSettings & { readonly maxDurationMs: number; readonly pcmRate: number },
): string[] {
  // A second more than is accepted, so that the samples tell what is too long.
  const atMost = ['-t', seconds(maxDurationMs + 1_000)];
  const encoder =
    format === 'mp3'
      ? ['-c:a', 'libmp3lame', '-b:a', '64k', ...ANONYMOUS, '-id3v2_version', '0', '-write_id3v1', '0', '-f', 'mp3']
      : ['-c:a', 'aac', '-b:a', '64k', ...ANONYMOUS, '-movflags', '+faststart', '-f', 'ipod'];
  const [sound, heard] =
    loudnessLufs === undefined
      ? [
          ['-map', '0:a:0', '-vn', '-af', `${COUNT_SAMPLES},aformat=sample_rates=${RATES},${AT_LEAST}`, '-ac', '1'],
          ['-map', '0:a:0', '-vn', '-af', COUNT_SAMPLES],
        ]
      : [
          ['-map', '[sound]', '-ac', '1'],
          ['-map', '[heard]'],
        ];
  // The filter works at 192 kHz. The waveform shows what is heard: the sound after it.
  const filters =
    loudnessLufs === undefined
      ? []
      : [
          '-filter_complex',
          `[0:a:0]${COUNT_SAMPLES},aformat=channel_layouts=mono,${loudnorm(loudnessLufs)},aformat=sample_rates=48000:channel_layouts=mono,asplit=2[any][heard];[any]${AT_LEAST}[sound]`,
        ];
  return [
    ...GLOBAL,
    ...PROGRESS,
    // ffmpeg would start threads for each core of the machine in every filter and decoder, for sounds that keep one busy for a fraction of a second.
    ...['-filter_threads', '1', '-filter_complex_threads', '1'],
    ...input(source, ['-threads', '1'], SOUND_DECODERS),
    ...filters,
    ...[...sound, ...atMost, ...encoder, `file:${targets.sound}`],
    ...[...heard, ...atMost, ...samplesOutput(targets.samples, pcmRate)],
  ];
}
