import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import sharp from 'sharp';

/** Files like those that phones upload, made here so that the repository carries no media. */
export interface Samples {
  /** 12 megapixels, stored lying with EXIF orientation 6, with a place: phones write pictures so. */
  readonly photo: string;
  /** Stored lying with a turn of 90 degrees, with a place and sound. */
  readonly video: string;
  /** Ogg Opus, mono. */
  readonly voiceNote: string;
}

const GENERATE_TIMEOUT_MS = 60_000;

/** Makes the samples in a folder; those that are there already stay. */
export async function makeSamples(folder: string): Promise<Samples> {
  await mkdir(folder, { recursive: true });
  const make = async (name: string, write: (file: string) => Promise<unknown>): Promise<string> => {
    const file = join(folder, name);
    if (await exists(file)) return file;
    // Under its name only when it is whole: a demo that was interrupted must not leave half a video for the next.
    const draft = join(folder, `draft-${name}`);
    await write(draft);
    await rename(draft, file);
    return file;
  };
  const [photo, video, voiceNote] = await Promise.all([make('holiday.jpg', writePhoto), make('clip.mov', writeVideo), make('voice-note.ogg', writeVoiceNote)]);
  return { photo, video, voiceNote };
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** A sun over hills, with the noise that makes a real picture hard to compress. Upright it is 3024 x 4032. */
async function writePhoto(file: string): Promise<void> {
  const [width, height] = [756, 1008];
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [red, green, blue] = scene(x / width, y / height);
      const grain = (Math.random() - 0.5) * 18;
      pixels.set([clamp(red + grain), clamp(green + grain), clamp(blue + grain)], (y * width + x) * 3);
    }
  }
  const upright = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize(3024, 4032, { kernel: 'mitchell' })
    .raw()
    .toBuffer();
  await sharp(upright, { raw: { width: 3024, height: 4032, channels: 3 } })
    // Lying, as the sensor is; orientation 6 says "turn it clockwise to look at it".
    .rotate(270)
    .withExif({
      IFD0: { Make: 'Backhaul', Model: 'Demo' },
      IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 28/1 40/1', GPSLongitudeRef: 'W', GPSLongitude: '0/1 0/1 5/1' },
    })
    .withMetadata({ orientation: 6 })
    .jpeg({ quality: 88 })
    .toFile(file);
}

/** The colour at a place of the picture, 0 to 1 from the top left. */
function scene(x: number, y: number): [number, number, number] {
  const hills = 0.62 + 0.05 * Math.sin(x * 9) + 0.03 * Math.sin(x * 23 + 1);
  const meadow = 0.78 + 0.03 * Math.sin(x * 6 + 2);
  if (y > meadow) return [60 + 40 * y, 120 - 30 * x, 40];
  if (y > hills) return [40, 70 + 60 * (y - hills), 90];
  const sun = Math.hypot((x - 0.7) * 0.75, y - 0.25);
  if (sun < 0.07) return [255, 240, 190];
  const glow = Math.exp(-sun * 6) * 90;
  return [90 + 120 * y + glow, 150 + 60 * y + glow * 0.6, 235 - 40 * y];
}

const clamp = (value: number): number => Math.max(0, Math.min(255, Math.round(value)));

async function writeVideo(file: string): Promise<void> {
  const lying = `${file}.lying.mov`;
  const place = ['-metadata', 'location=+51.4778-000.0014/', '-metadata', 'creation_time=2026-01-01T12:00:00Z'];
  await ffmpeg([
    ...['-f', 'lavfi', '-i', 'testsrc2=size=1280x720:rate=30:duration=4', '-f', 'lavfi', '-i', 'sine=frequency=330:beep_factor=3:sample_rate=48000:duration=4'],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '18', '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-b:a', '128k', ...place, lying],
  ]);
  // ffmpeg 6 took the tag's place with an option of its own, and 7 ignores the tag.
  const { stdout } = await execa('ffmpeg', ['-version'], { stdin: 'ignore', timeout: GENERATE_TIMEOUT_MS });
  const major = Number(/version n?(\d+)/.exec(stdout)?.[1] ?? 0);
  const turned = major >= 6 ? ['-display_rotation', '-90', '-i', lying] : ['-i', lying, '-metadata:s:v:0', 'rotate=90'];
  await ffmpeg([...turned, '-c', 'copy', '-map_metadata', '0', '-f', 'mov', file]);
  await rm(lying, { force: true });
}

async function writeVoiceNote(file: string): Promise<void> {
  const opus = ['-ac', '1', '-ar', '48000', '-c:a', 'libopus', '-b:a', '24k', '-f', 'ogg', file];
  const spoken = "flite=text='Hello. This is a voice note. It will be an M P three with a waveform in a moment.':voice=slt";
  try {
    await ffmpeg(['-f', 'lavfi', '-i', spoken, ...opus]);
  } catch {
    // Not every ffmpeg can speak: a tone with the rhythm of speech does as well.
    await ffmpeg([
      '-f',
      'lavfi',
      '-i',
      "aevalsrc='0.4*sin(2*PI*(170*t+8*sin(2*PI*1.3*t)))*(0.6+0.4*sin(2*PI*4*t))*gt(sin(2*PI*0.45*t),-0.5)':sample_rate=48000:duration=5",
      ...opus,
    ]);
  }
}

async function ffmpeg(args: readonly string[]): Promise<void> {
  await execa('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args], { stdin: 'ignore', timeout: GENERATE_TIMEOUT_MS });
}
