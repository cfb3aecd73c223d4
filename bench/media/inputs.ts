import { existsSync } from 'node:fs';
import { mkdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { shell } from './shell.ts';

/** Files like those that phones send, by name. All are generated: the same bytes on every machine with the same ffmpeg. */
export const INPUTS = {
  /** 12 megapixels, some 6 MB. */
  photo: 'photo.jpg',
  /** 10 s of 1080p at 15 Mbit/s: too large, so it is encoded anew. */
  clip: 'clip-1080p-bt709.mp4',
  /** The same for 3 s. */
  shortClip: 'clip-1080p-short-bt709.mp4',
  /** 30 s of 720p that plays everywhere as it is. */
  playable: 'playable-720p-bt709.mp4',
  /** Like `playable`, but for its codec, which has to be encoded; only 3 s. */
  unplayable: 'unplayable-720p-bt709.mp4',
  /** Voice notes, Ogg Opus. */
  note5s: 'note-5s.ogg',
  note60s: 'note-60s.ogg',
} as const;

/** What stands for what a camera sees: details at every scale, and noise. */
const SCENE = 'mandelbrot=s=4032x3024:maxiter=400:start_scale=0.02:start_x=-0.7436438870:start_y=0.1318259042,noise=alls=6:allf=t:all_seed=1';

/** A camera that moves over the photo. */
const pan = (size: string) =>
  `format=yuv420p,loop=loop=-1:size=1,setpts=N/30/TB,fps=30,crop=${size}:x='900+900*sin(n/90)':y='900+900*cos(n/120)',scale=out_color_matrix=bt709:out_range=tv,format=yuv420p`;

/** What every phone writes. Without it they would have the photo's colours, which we convert and a bare ffmpeg does not. */
const BT709 = ['-color_primaries', 'bt709', '-color_trc', 'bt709', '-colorspace', 'bt709', '-color_range', 'tv'];

/** What stands for speech: noise with a voice's spectrum, in syllables. */
const speech = 'anoisesrc=color=pink:sample_rate=48000:amplitude=0.4:seed=1,tremolo=f=4:d=0.9';

const lavfi = (source: string) => ['-f', 'lavfi', '-i', source];
const h264 = (preset: string, kbits: number) => [
  '-c:v',
  'libx264',
  '-preset',
  preset,
  '-pix_fmt',
  'yuv420p',
  '-b:v',
  `${kbits}k`,
  '-maxrate',
  `${kbits}k`,
  '-bufsize',
  `${kbits}k`,
];
const aac = ['-c:a', 'aac', '-b:a', '128k', '-ac', '2'];
const video = (folder: string, size: string, durationSeconds: number) => [
  ...['-i', join(folder, INPUTS.photo)],
  ...lavfi(speech),
  ...['-vf', pan(size), '-t', String(durationSeconds), ...BT709],
];
const opus = ['-ac', '1', '-c:a', 'libopus', '-b:a', '24k', '-application', 'voip'];

/** In this order: videos are made of the photo. */
const RECIPES: Readonly<Record<keyof typeof INPUTS, (folder: string) => readonly string[]>> = {
  photo: () => [...lavfi(SCENE), '-frames:v', '1', '-pix_fmt', 'yuvj420p', '-qmin', '1', '-q:v', '1'],
  clip: (folder) => [...video(folder, '1920:1080', 10), ...h264('superfast', 15_000), ...aac],
  shortClip: (folder) => [...video(folder, '1920:1080', 3), ...h264('superfast', 15_000), ...aac],
  playable: (folder) => [...video(folder, '1280:720', 30), ...h264('superfast', 2_500), '-profile:v', 'main', ...aac],
  unplayable: (folder) => [...video(folder, '1280:720', 3), '-c:v', 'mpeg4', '-b:v', '2500k', ...aac],
  note5s: () => [...lavfi(speech), '-t', '5', ...opus],
  note60s: () => [...lavfi(speech), '-t', '60', ...opus],
};

/** Makes what is missing in a folder. */
export async function makeInputs(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, recipe] of Object.entries(RECIPES)) {
    const file = join(folder, INPUTS[name as keyof typeof INPUTS]);
    if (existsSync(file)) continue;
    process.stderr.write(`  making ${file}\n`);
    // Under its name only when it is whole: the next run would take half of it.
    const partial = join(folder, `partial-${INPUTS[name as keyof typeof INPUTS]}`);
    await shell('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...recipe(folder), partial]);
    await rename(partial, file);
  }
  const { size } = await stat(join(folder, INPUTS.photo));
  if (size < 4e6 || size > 7e6) throw new Error(`this ffmpeg makes a photo of ${size} bytes: no phone does`);
}
