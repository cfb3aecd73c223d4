import { constants } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TransientMediaFailure, mediaFailure } from '@backhaul/jobs/media';
import { ChildDied, type ChildExit, type RunChild, type Sandbox } from '../../sandbox/child.ts';
import type { ChildLimits } from '../../sandbox/guards.ts';

/** libheif's `heif-convert`, and what it runs in. */
export interface HeicDecoder {
  /** Absolute. */
  readonly program: string;
  readonly sandbox: Sandbox;
  readonly runChild: RunChild;
}

/** One picture to open. */
export interface HeicSource {
  readonly bytes: Buffer;
  readonly hasAlpha: boolean;
  /** How many independent pictures the file holds, and which of them is meant to be shown. */
  readonly pages: number;
  readonly primary: number;
  /** Private; what is made lies there until it is removed. */
  readonly folder: string;
  readonly attempt: number;
  readonly signal: AbortSignal;
}

/** Measured: 12 million pixels of a photo take 0.6 s, 63 million of a smooth picture 1.3 s and less than 600 MB of address space. */
const LIMITS: ChildLimits = { memoryBytes: 2 * 1024 ** 3, cpuSeconds: 30, fileBytes: 256 * 1024 ** 2 };

/** It says nothing before it is done, so that a time without progress means nothing. */
const WALL_MS = 40_000;

/** Finer than what is made of it, so that it leaves no marks. */
const JPEG_QUALITY = '93';

/**
 * Opens a HEIC file to a JPEG, or to a PNG where it can be seen through, which
 * takes seven times as long. It comes out turned as HEIF's own boxes say;
 * EXIF's orientation, which the file may hold too, has no say in HEIF and must
 * not be applied once more.
 *
 * @throws {PermanentFailure} corrupt, unsupported, crashed
 * @throws {TransientMediaFailure} decoder_died
 */
export async function openHeic(decoder: HeicDecoder, source: HeicSource): Promise<Buffer> {
  const { bytes, hasAlpha, pages, primary, folder, attempt, signal } = source;
  const extension = hasAlpha ? 'png' : 'jpg';
  const input = join(folder, 'heic.heic');
  await writeFile(input, bytes, { signal });
  const exit = await run(decoder, ['--quiet', '-q', JPEG_QUALITY, input, join(folder, `opened.${extension}`)], folder, attempt, signal);
  const output = join(folder, pages > 1 ? `opened-${primary + 1}.${extension}` : `opened.${extension}`);
  const opened = exit.exitCode === 0 ? await readRegular(output) : undefined;
  if (opened === undefined) throw blameHeic(exit);
  return opened;
}

async function run(
  { program, sandbox, runChild }: HeicDecoder,
  args: readonly string[],
  cwd: string,
  attempt: number,
  signal: AbortSignal,
): Promise<ChildExit> {
  try {
    return await runChild(sandbox, { program, args, cwd, signal, stallMs: WALL_MS, wallMs: WALL_MS, limits: LIMITS });
  } catch (error) {
    if (!(error instanceof ChildDied)) throw error;
    // Once may be the machine's fault; twice, and it is the file's.
    if (attempt > 1) throw mediaFailure('crashed', `the decoder of HEIC failed on this file again: ${error.message}`, { cause: error });
    throw new TransientMediaFailure('decoder_died', error.message, { cause: error });
  }
}

function blameHeic({ exitCode, stderr }: ChildExit): Error {
  const said = stderr.split('\n')[0]?.slice(0, 300) ?? '';
  if (/security limit|too large|exceeds/i.test(said)) return mediaFailure('too_large', `the HEIC picture is too large to decode: ${said}`);
  if (/unsupported/i.test(said)) return mediaFailure('unsupported', `the HEIC picture is of a kind that is not accepted: ${said}`);
  return mediaFailure('corrupt', `the HEIC picture cannot be decoded (exit code ${exitCode}): ${said}`);
}

/** A file that the decoder left; undefined for anything else under its name. A decoder that was taken over could have left a link to a file of ours, or a pipe. */
async function readRegular(name: string): Promise<Buffer | undefined> {
  const file = await open(name, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined);
  if (file === undefined) return undefined;
  await using _file = file;
  const found = await file.stat();
  return found.isFile() && found.size > 0 && found.size <= LIMITS.fileBytes ? await file.readFile() : undefined;
}
