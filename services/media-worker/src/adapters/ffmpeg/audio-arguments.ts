import { ANONYMOUS, GLOBAL, type Source, input, seconds } from './input.ts';

/** Every browser and phone decodes MP3 at these rates; lower ones (MPEG-2.5) not everywhere. */
const MP3_RATES = '48000|44100|32000|24000|22050|16000';

/** One process for the MP3 and, through its standard output, the samples that the waveform is drawn from. */
export function audioArguments(source: Source, target: string, options: { readonly maxDurationMs: number; readonly pcmRate: number }): string[] {
  return [
    ...GLOBAL,
    ...input(source, ['-t', seconds(options.maxDurationMs + 1_000)]),
    ...['-map', '0:a:0', '-vn', '-ac', '1', '-af', `aformat=sample_rates=${MP3_RATES}`, '-c:a', 'libmp3lame', '-b:a', '64k'],
    ...ANONYMOUS,
    ...['-id3v2_version', '0', '-write_id3v1', '0', '-f', 'mp3', `file:${target}`],
    // Without -flush_packets 0 every 20 ms of sound is a write of its own, and a wake-up of ours: a quarter of the whole cost.
    ...['-map', '0:a:0', '-vn', '-ac', '1', '-ar', String(options.pcmRate), '-c:a', 'pcm_s16le', '-flush_packets', '0', '-f', 's16le', 'pipe:1'],
  ];
}
