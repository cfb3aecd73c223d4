import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MediaKind, MediaMetadata } from '@backhaul/jobs/media';
import { startStack } from '@backhaul/testing';
import { execa } from 'execa';
import sharp from 'sharp';
import { thumbHashToRGBA } from 'thumbhash';
import { type WorkerUnderTest, startWorkerUnderTest } from '../services/media-worker/src/corpus/worker-under-test.ts';

/**
 * Makes the pictures of docs/media.md: `node tools/media-pictures.ts`.
 * What they show after the worker's hand are its real outputs, made smaller.
 */
const docs = fileURLToPath(new URL('../docs/media/', import.meta.url));

/** As wide as a column of the page. */
const SHOWN_PX = 240;

const stack = await startStack({ dir: '.backhaul/pictures', only: ['postgres', 'fakes'] });
const folder = await mkdtemp(join(tmpdir(), 'pictures-'));
try {
  await mkdir(docs, { recursive: true });
  await using worker = await startWorkerUnderTest({ env: stack.env, concurrency: 1 });
  await drawPicture(worker);
  await drawAnimation(worker);
  await drawHdrVideo(worker);
  await drawWaveform(worker);
} finally {
  await rm(folder, { recursive: true });
  await stack.stop({ removeData: true });
}

/** A phone's picture: stored lying, to be turned by its EXIF. */
async function drawPicture(worker: WorkerUnderTest): Promise<void> {
  const scene = await ffmpeg('scene.png', [...lavfi('mandelbrot=size=1200x1600:start_scale=0.35:end_scale=0.3:rate=1'), '-frames:v', '1']);
  const lying = await sharp(scene).rotate(-90).withMetadata({ orientation: 6 }).jpeg({ quality: 92 }).toBuffer();
  const { metadata, outputs } = await done(worker, lying, 'image');
  // `raw` pixels, as a viewer shows them that knows no EXIF.
  await show('picture-upload.webp', await sharp(lying, { autoOrient: false }).toBuffer());
  await show('picture-full.webp', output(outputs, 'full'));
  await show('picture-thumb.webp', output(outputs, 'thumb'), 120);
  const { w, h, rgba } = thumbHashToRGBA(Buffer.from(metadata.placeholder?.thumbhash ?? '', 'base64'));
  await show(
    'picture-thumbhash.webp',
    await sharp(rgba, { raw: { width: w, height: h, channels: 4 } })
      .resize(120)
      .png()
      .toBuffer(),
    120,
  );
}

async function drawAnimation(worker: WorkerUnderTest): Promise<void> {
  const gif = await ffmpeg('moving.gif', [...lavfi('testsrc=size=192x108:rate=5:duration=2')]);
  const { outputs } = await done(worker, gif, 'image');
  await writeFile(join(docs, 'animation-full.webp'), output(outputs, 'full'));
  await show('animation-thumb.webp', output(outputs, 'thumb'));
}

/** Ten bits of PQ, as newer phones film. */
async function drawHdrVideo(worker: WorkerUnderTest): Promise<void> {
  const tags = ['-color_primaries', 'bt2020', '-color_trc', 'smpte2084', '-colorspace', 'bt2020nc'];
  const toPq =
    'scale=out_color_matrix=bt709,format=yuv420p,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv,zscale=t=linear:npl=200,format=gbrpf32le,zscale=p=bt2020:t=smpte2084:m=bt2020nc:r=tv:npl=200,format=yuv420p10le';
  const scene = lavfi('gradients=size=1280x720:rate=10:duration=2:c0=0x103070:c1=0xf0b060:c2=0xc03020:c3=0x40a050:nb_colors=4:seed=4');
  const codec = [
    '-c:v',
    'libx265',
    '-preset',
    'fast',
    '-tag:v',
    'hvc1',
    '-x265-params',
    'log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc',
  ];
  const hdr = await ffmpeg('hdr.mov', [...scene, '-vf', toPq, ...codec, ...tags]);
  const { outputs } = await done(worker, hdr, 'video');
  await show('hdr-untouched.webp', await ffmpeg('untouched.png', ['-ss', '1', '-i', join(folder, 'hdr.mov'), '-frames:v', '1', '-vf', 'format=rgb24']));
  await show('hdr-poster.webp', output(outputs, 'poster'));
}

/** Something that rises and falls as speech does. */
async function drawWaveform(worker: WorkerUnderTest): Promise<void> {
  const speech = "aevalsrc='(0.15+0.85*abs(sin(2*PI*0.35*t)))*abs(sin(2*PI*(1.9+0.8*sin(t))*t))*(random(0)-0.5)*1.6:d=9'";
  const note = await ffmpeg('note.ogg', [...lavfi(speech), '-c:a', 'libopus', '-b:a', '24k']);
  const { metadata } = await done(worker, note, 'audio');
  const peaks = Buffer.from(metadata.waveform?.peaks ?? '', 'base64');
  const bars = [...peaks].map((peak, index) => {
    const height = Math.max(2, Math.round((peak / 255) * 76));
    return `<rect x="${index * 6 + 4}" y="${40 - height / 2}" width="4" height="${height}" rx="2"/>`;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${peaks.length * 6 + 6} 80" fill="#2f6fdd">${bars.join('')}</svg>\n`;
  await writeFile(join(docs, 'waveform.svg'), svg);
}

async function done(worker: WorkerUnderTest, bytes: Buffer, kind: MediaKind): Promise<{ metadata: MediaMetadata; outputs: ReadonlyMap<string, Buffer> }> {
  const processed = await worker.process(bytes, kind);
  if (processed.state !== 'done') throw new Error(`${kind}: ${processed.code}: ${processed.reason}`);
  return processed;
}

function output(outputs: ReadonlyMap<string, Buffer>, name: string): Buffer {
  const bytes = outputs.get(name);
  if (bytes === undefined) throw new Error(`there is no output ${name}, only ${[...outputs.keys()].join(', ')}`);
  return bytes;
}

async function show(name: string, picture: Buffer, widthPx = SHOWN_PX): Promise<void> {
  await sharp(picture).resize(widthPx).webp({ quality: 80 }).toFile(join(docs, name));
}

async function ffmpeg(name: string, args: readonly string[]): Promise<Buffer> {
  await execa('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args, join(folder, name)], { timeout: 60_000 });
  return readFile(join(folder, name));
}

function lavfi(source: string): string[] {
  return ['-f', 'lavfi', '-i', source];
}
