import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

/** Where Debian, macOS and their users keep programs. */
export const PATH = '/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin';

/** A folder of generated media, for tests. */
export interface SampleMedia extends AsyncDisposable {
  readonly folder: string;
  /** Runs ffmpeg on its arguments and a file name in the folder; the same name is made once. */
  make(name: string, args: readonly string[]): Promise<string>;
  /** The first `part` of another sample's bytes. */
  cut(name: string, from: string, part: number): Promise<string>;
  write(name: string, bytes: Buffer | string): Promise<string>;
  /** 640x360, 30 fps, with sound: fits as it is. */
  clip(): Promise<string>;
  /** Like a phone in portrait: stored lying, with a turn of 90 degrees, a place and a date. */
  portrait(): Promise<string>;
  /** Speech-like, Ogg Opus. */
  voiceNote(durationSeconds?: number): Promise<string>;
}

/** Every source has an end: one without it, and ffmpeg never comes back. */
const picture = (size: string, rate = 30, durationSeconds = 1) => ['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=${rate}:duration=${durationSeconds}`];
const sound = (durationSeconds = 1) => ['-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=48000:duration=${durationSeconds}`];
const h264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'];

/** Makes an empty folder of samples. */
export async function sampleMedia(): Promise<SampleMedia> {
  const folder = await mkdtemp(join(tmpdir(), 'sample-media-'));
  const made = new Map<string, Promise<string>>();
  const once = (name: string, create: (file: string) => Promise<unknown>): Promise<string> => {
    const file = join(folder, name);
    const known = made.get(name) ?? create(file).then(() => file);
    made.set(name, known);
    return known;
  };
  const media: SampleMedia = {
    folder,
    make: (name, args) => once(name, (file) => execa('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args, file], { timeout: 30_000 })),
    cut: (name, from, part) =>
      once(name, async (file) => {
        const whole = await readFile(from);
        await writeFile(file, whole.subarray(0, Math.floor(whole.length * part)));
      }),
    write: (name, bytes) => once(name, (file) => writeFile(file, bytes)),
    clip: () => media.make('clip.mp4', [...picture('640x360'), ...sound(), ...h264, '-profile:v', 'main', '-c:a', 'aac', '-b:a', '64k']),
    async portrait() {
      const lying = await media.make('lying.mov', [
        ...picture('1280x960', 15),
        ...sound(),
        ...h264,
        '-qp',
        '20',
        '-c:a',
        'aac',
        '-metadata',
        'location=+51.5-000.1/',
        '-metadata',
        'creation_time=2026-01-01T00:00:00Z',
      ]);
      return media.make('portrait.mov', ['-i', lying, '-c', 'copy', '-metadata:s:v:0', 'rotate=270', '-movflags', 'use_metadata_tags', '-map_metadata', '0']);
    },
    voiceNote: (durationSeconds = 1) =>
      media.make(`note-${durationSeconds}.ogg`, [
        ...sound(durationSeconds),
        '-c:a',
        'libopus',
        '-b:a',
        '24k',
        '-metadata',
        'title=secret',
        '-metadata',
        'artist=somebody',
      ]),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
  return media;
}

/** What ffprobe says of a file, as parsed JSON. */
export async function inspect(
  file: string,
): Promise<{ streams: Record<string, unknown>[]; format: { duration?: string; format_name: string; tags?: Record<string, string> } }> {
  const { stdout } = await execa('ffprobe', ['-v', 'error', '-show_streams', '-show_format', '-of', 'json', file]);
  return JSON.parse(stdout) as never;
}

/** Whether an MP4's index comes before its pictures. */
export async function startsFast(file: string): Promise<boolean> {
  const bytes = await readFile(file);
  return bytes.indexOf('moov') < bytes.indexOf('mdat');
}

/** Re-exported arguments for samples that a single test needs. */
export const lavfi = { picture, sound, h264 };

/** A file's size in bytes. */
export async function sizeOf(file: string): Promise<number> {
  return (await stat(file)).size;
}
