import { access, constants, stat } from 'node:fs/promises';
import { basename, extname, resolve } from 'node:path';

/** A medium to send. */
export interface MediaFile {
  readonly path: string;
  /** What people call it. */
  readonly name: string;
  readonly kind: 'image' | 'video' | 'audio';
  readonly contentType: string;
}

const KINDS: Readonly<Record<string, readonly [MediaFile['kind'], string]>> = {
  '.jpg': ['image', 'image/jpeg'],
  '.jpeg': ['image', 'image/jpeg'],
  '.png': ['image', 'image/png'],
  '.webp': ['image', 'image/webp'],
  '.gif': ['image', 'image/gif'],
  '.avif': ['image', 'image/avif'],
  '.heic': ['image', 'image/heic'],
  '.mp4': ['video', 'video/mp4'],
  '.m4v': ['video', 'video/mp4'],
  '.mov': ['video', 'video/quicktime'],
  '.mkv': ['video', 'video/x-matroska'],
  '.webm': ['video', 'video/webm'],
  '.3gp': ['video', 'video/3gpp'],
  '.ogg': ['audio', 'audio/ogg'],
  '.oga': ['audio', 'audio/ogg'],
  '.opus': ['audio', 'audio/ogg'],
  '.mp3': ['audio', 'audio/mpeg'],
  '.m4a': ['audio', 'audio/mp4'],
  '.aac': ['audio', 'audio/aac'],
  '.wav': ['audio', 'audio/wav'],
  '.flac': ['audio', 'audio/flac'],
  '.amr': ['audio', 'audio/amr'],
  '.caf': ['audio', 'audio/x-caf'],
};

/** Files that cannot be sent, each with the reason. */
export class UnusableFiles extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'UnusableFiles';
    this.problems = problems;
  }
}

/**
 * Looks at files that a person named; the type is told by the extension.
 *
 * @param from the folder that relative names count from
 * @throws {UnusableFiles} with one line for each that is missing, no file, not readable, empty or of no known type
 */
export async function ownFiles(names: readonly string[], from: string): Promise<MediaFile[]> {
  const looked = await Promise.all(names.map((name) => look(name, from)));
  const problems = looked.filter((each) => typeof each === 'string');
  if (problems.length > 0) throw new UnusableFiles(problems);
  return looked.filter((each) => typeof each !== 'string');
}

async function look(name: string, from: string): Promise<MediaFile | string> {
  const path = resolve(from, name);
  const extension = extname(path).toLowerCase();
  const known = KINDS[extension];
  if (known === undefined)
    return `${name}: ${extension === '' ? 'it has no extension' : `${extension} is no extension that the demo knows`}; expected one of ${Object.keys(KINDS).join(' ')}`;
  try {
    const found = await stat(path);
    if (!found.isFile()) return `${name}: it is not a file`;
    if (found.size === 0) return `${name}: it is empty`;
    await access(path, constants.R_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return `${name}: there is no such file (looked for ${path})`;
    if (code === 'EACCES') return `${name}: it may not be read`;
    return `${name}: ${error instanceof Error ? error.message : String(error)}`;
  }
  const [kind, contentType] = known;
  return { path, name: basename(path), kind, contentType };
}
