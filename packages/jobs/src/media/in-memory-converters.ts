import { readFile, writeFile } from 'node:fs/promises';
import type { MediaPorts, StillTargets } from './ports.ts';

/** Converters of text for the handlers' tests: what they make names what they were given. `decode` may throw. */
export function inMemoryConverters(decode: (text: string) => void): Pick<MediaPorts, 'images' | 'videos' | 'sounds'> {
  return {
    images: {
      async render(source, { variants, only }) {
        decode(source.toString());
        const wanted = variants.filter(({ name }) => only === undefined || only.has(name));
        const made = wanted.map(({ name, maxPx }) => ({
          name,
          width: maxPx,
          height: maxPx / 2,
          bytes: Buffer.from(`${name} of ${source.toString()}`),
          contentType: 'image/webp',
          extension: 'webp',
        }));
        return {
          width: 4000,
          height: 2000,
          animated: false,
          hasAlpha: false,
          placeholder: PLACEHOLDER,
          warnings: [],
          source: { orientation: 1 },
          variants: made,
        };
      },
      placeholder: async () => PLACEHOLDER,
    },
    videos: {
      async toMp4(source, targets, { progress, pcmRate, onPcm }) {
        const text = await readFile(source.file, 'utf8');
        decode(text);
        progress(50);
        await writeFile(targets.video, `video of ${text}`);
        await stills(text, targets);
        onPcm(Buffer.alloc(2 * 2 * pcmRate));
        return {
          durationMs: 2_000,
          width: 720,
          height: 1280,
          poster: { width: 720, height: 1280 },
          thumb: { width: 180, height: 320 },
          fps: 30,
          hasAudio: true,
          road: 'transcode',
          warnings: [],
          source: {
            width: 1920,
            height: 1080,
            rotation: 90,
            videoCodec: 'hevc',
            audioCodec: 'aac',
            pixelFormat: 'yuv420p',
            fps: 30,
            hdr: false,
            bitRate: null,
            durationMs: 2_000,
          },
        };
      },
      toStills: async (source, targets) => stills(await readFile(source.file, 'utf8'), targets),
    },
    sounds: {
      output: { contentType: 'audio/mpeg', extension: 'mp3' },
      async convert(source, target, { pcmRate, onPcm }) {
        const text = await readFile(source.file, 'utf8');
        decode(text);
        await writeFile(target, `mp3 of ${text}`);
        // `ogg:2:..` is two seconds of full scale.
        const samples = Math.round(Number(text.split(':')[1]) * pcmRate);
        onPcm(Buffer.from(new Int16Array(samples).fill(32_767).buffer));
        return { warnings: [] };
      },
    },
  };
}

async function stills(text: string, { poster, thumb }: StillTargets): Promise<void> {
  await writeFile(poster, `poster of ${text}`);
  await writeFile(thumb, `thumb of ${text}`);
}

const PLACEHOLDER = { thumbhash: 'aGFzaA==', dataUri: 'data:image/webp;base64,' };
