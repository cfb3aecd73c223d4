import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** What the makers of the corpus work with. */
export interface CorpusTools {
  /** A file that ffmpeg makes of its arguments, without the output's name; the same arguments run once. */
  ffmpeg(extension: string, args: readonly string[]): Promise<Buffer>;
  /** The same, as the name of a file that another step can read. */
  ffmpegFile(extension: string, args: readonly string[]): Promise<string>;
  /** A HEIC file by libheif's encoder from a picture. */
  heic(picture: Buffer, args?: readonly string[]): Promise<Buffer>;
  /** Bytes as the name of a file that another step can read. */
  file(extension: string, bytes: Buffer): Promise<string>;
  /** An address where somebody listens and whoever connects is found out. */
  readonly canaryUrl: string;
}

/** Raised when the meaning of a recipe changes without its arguments. */
const CACHE_VERSION = 1;

/** In the repository's root; `make clean` removes it. */
const CACHE = join(import.meta.dirname, '..', '..', '..', '..', '.backhaul', 'corpus');

/** Programs at once: one per core of the smallest machine that runs the tests. */
const AT_ONCE = 2;

/** The longest that one file may take; nothing here is large, but a machine may be busy. */
const MAKE_TIMEOUT_MS = 60_000;

/** Tools that keep what they made under `.backhaul/corpus`, by a hash of how it was made: a second run makes nothing. */
export async function corpusTools(canaryUrl: string): Promise<CorpusTools> {
  const folder = CACHE;
  await mkdir(folder, { recursive: true });
  const running = new Map<string, Promise<string>>();
  const slots = createSlots(AT_ONCE);

  /** `make` writes to the name that it is given; the file appears under its own name only when it is whole. */
  function once(recipe: string, extension: string, make: (file: string) => Promise<unknown>): Promise<string> {
    const hash = createHash('sha256').update(`${CACHE_VERSION}\0${extension}\0${recipe}`).digest('hex').slice(0, 32);
    const file = join(folder, `${hash}.${extension}`);
    const known = running.get(file);
    if (known !== undefined) return known;
    const making = slots(async () => {
      if ((await readFile(file).catch(() => undefined)) !== undefined) return file;
      // Its own name per run: test files run side by side and make the same files.
      const unfinished = join(folder, `${hash}.${randomUUID()}.${extension}`);
      try {
        await make(unfinished);
        await rename(unfinished, file);
      } finally {
        await rm(unfinished, { force: true });
      }
      return file;
    });
    running.set(file, making);
    return making;
  }

  const ffmpegFile: CorpusTools['ffmpegFile'] = (extension, args) =>
    once(['ffmpeg', ...args.map((arg) => arg.replace(folder, ''))].join('\0'), extension, (file) =>
      execa('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args, '-bitexact', `file:${file}`], { timeout: MAKE_TIMEOUT_MS }),
    );
  const file: CorpusTools['file'] = (extension, bytes) => once(createHash('sha256').update(bytes).digest('hex'), extension, (name) => writeFile(name, bytes));
  return {
    canaryUrl,
    ffmpegFile,
    file,
    ffmpeg: async (extension, args) => readFile(await ffmpegFile(extension, args)),
    async heic(picture, args = []) {
      const source = await file('png', picture);
      const made = await once(['heif-enc', ...args, source.replace(folder, '')].join('\0'), 'heic', (output) =>
        execa('heif-enc', [...args, source, '-o', output], { timeout: MAKE_TIMEOUT_MS }),
      );
      return readFile(made);
    },
  };
}

/** Runs at most `size` tasks at once; the others wait for their turn. */
export function createSlots(size: number): <Result>(task: () => Promise<Result>) => Promise<Result> {
  const waiting: (() => void)[] = [];
  let free = size;
  return async (task) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => void waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    }
  };
}
