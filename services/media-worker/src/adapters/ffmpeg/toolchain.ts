import { access, constants } from 'node:fs/promises';
import { delimiter, resolve } from 'node:path';
import { execa } from 'execa';
import { findGuards } from '../../sandbox/find-guards.ts';
import type { Guards } from '../../sandbox/guards.ts';

/** The ffmpeg that this process uses, and what guards it. */
export interface Toolchain {
  /** Absolute paths, as found at start. */
  readonly ffmpeg: string;
  readonly ffprobe: string;
  /** libheif's decoder of HEIC; without it such pictures are refused. */
  readonly heifConvert?: string | undefined;
  /** Where children look for programs; all that they get of our environment, which holds credentials. */
  readonly path: string;
  /** As ffmpeg says it: `5.1.9-0+deb12u1`. */
  readonly version: string;
  /** HDR video can be brought to ordinary brightness; without it, it looks washed out. */
  readonly canTonemap: boolean;
  readonly guards: Guards;
}

/** The worker cannot do its work on this machine: the operator must install something. */
export class ToolchainIncomplete extends Error {
  readonly code = 'toolchain_incomplete';

  constructor(problem: string) {
    super(
      `${problem}. Install ffmpeg with libx264, libmp3lame and aac (Debian: apt-get install ffmpeg; macOS: brew install ffmpeg) or point FFMPEG_PATH and FFPROBE_PATH at one`,
    );
    this.name = 'ToolchainIncomplete';
  }
}

/** What the handlers' outputs are made with. */
const ENCODERS = ['libx264', 'aac', 'libmp3lame', 'mjpeg'];

/** What HDR is converted with. */
const TONEMAP_FILTERS = ['zscale', 'tonemap'];

/**
 * Looks at the programs once, at start.
 * @throws {ToolchainIncomplete} naming what is missing and what to install
 */
export async function findToolchain(programs: {
  readonly ffmpeg: string;
  readonly ffprobe: string;
  readonly heifConvert?: string;
  readonly path: string;
}): Promise<Toolchain> {
  const { path } = programs;
  const [ffmpeg, ffprobe] = await Promise.all([locate(programs.ffmpeg, path), locate(programs.ffprobe, path)]);
  const heifConvert = programs.heifConvert === undefined ? undefined : await locate(programs.heifConvert, path).catch(() => undefined);
  const paths = { ffmpeg, ffprobe, heifConvert, path };
  const [banner, encoders, filters, guards] = await Promise.all([
    read(paths.ffmpeg, ['-version']),
    read(paths.ffmpeg, ['-hide_banner', '-encoders']),
    read(paths.ffmpeg, ['-hide_banner', '-filters']),
    findGuards(path),
    read(paths.ffprobe, ['-version']),
  ]);
  const missing = ENCODERS.filter((name) => !lists(encoders, name));
  if (missing.length > 0) throw new ToolchainIncomplete(`${paths.ffmpeg} has no encoder ${missing.join(', ')}`);
  return {
    ...paths,
    version: /version (\S+)/.exec(banner)?.[1] ?? 'unknown',
    canTonemap: TONEMAP_FILTERS.every((name) => lists(filters, name)),
    guards,
  };
}

/**
 * Resolves while the programs can be started. Looks at the files only: starting
 * ffmpeg costs a tenth of a second of CPU, and probes come every few seconds.
 */
export async function checkToolchain({ ffmpeg, ffprobe, path }: Toolchain): Promise<void> {
  await Promise.all([locate(ffmpeg, path), locate(ffprobe, path)]);
}

/** Finds a program as a shell would. */
async function locate(program: string, path: string): Promise<string> {
  const folders = program.includes('/') ? [''] : path.split(delimiter);
  for (const folder of folders) {
    const candidate = resolve(folder, program);
    const found = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  throw new ToolchainIncomplete(`the program ${program} cannot be started: it is not there, or may not be executed`);
}

/** Rows look like ` V....D libx264   H.264 ..`: flags, name, description. */
function lists(listing: string, name: string): boolean {
  return listing.split('\n').some((row) => row.trim().split(/\s+/)[1] === name);
}

async function read(program: string, args: readonly string[]): Promise<string> {
  const result = await execa(program, args, { reject: false, timeout: 20_000, stdin: 'ignore' });
  if (result.failed) throw new ToolchainIncomplete(`${program} ${args.join(' ')} failed: ${result.shortMessage}`);
  return result.stdout;
}
