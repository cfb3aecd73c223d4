import { dirname } from 'node:path';
import { type MediaFile, TransientMediaFailure, mediaFailure } from '@backhaul/jobs/media';
import { ChildDied, type ChildExit, type RunChild } from '../../sandbox/child.ts';
import type { ChildLimits } from '../../sandbox/guards.ts';
import type { Toolchain } from './toolchain.ts';

/** How ffmpeg is run. */
export interface FfmpegOptions {
  readonly toolchain: Toolchain;
  readonly runChild: RunChild;
  /** Threads of one run; jobs run side by side, so cores divided by jobs. */
  readonly threads: number;
  /** Killed as stuck after so long without progress. */
  readonly stallMs: number;
  readonly limits: ChildLimits;
}

/** One run on one file. */
export interface FfmpegRun {
  readonly program: string;
  readonly args: readonly string[];
  readonly source: MediaFile;
  /** The job's try: what kills a decoder again is the file. */
  readonly attempt: number;
  /** Killed as too slow after so long. No limit by default. */
  readonly wallMs?: number | undefined;
  readonly signal: AbortSignal;
  onOutput?(chunk: Buffer): unknown;
  onProgress?(report: ReadonlyMap<string, string>): void;
}

/**
 * Runs ffmpeg or ffprobe in the folder of its source.
 *
 * @throws {TransientMediaFailure} decoder_died, when it was killed, stuck or too slow in the job's first try; unavailable, when it could not be started
 * @throws {PermanentFailure} crashed or timeout, when that happened again
 */
export async function runFfmpeg({ toolchain, runChild, stallMs, limits }: FfmpegOptions, run: FfmpegRun): Promise<ChildExit> {
  const { source, attempt, ...child } = run;
  try {
    return await runChild(toolchain, { ...child, cwd: dirname(source.file), stallMs, limits });
  } catch (error) {
    if (error instanceof ChildDied) throw died(error, attempt);
    throw error;
  }
}

/** Once may be the machine's fault; twice, and it is the file's: it must not kill one worker after the other. */
export function died(error: ChildDied, attempt: number): Error {
  const { message } = error;
  // No file keeps a program from starting: whatever the try, an operator has to look.
  if (error.why === 'not_started') return new TransientMediaFailure('unavailable', message, { cause: error });
  if (attempt === 1) return new TransientMediaFailure('decoder_died', message, { cause: error });
  switch (error.why) {
    case 'stalled':
    case 'wall_clock':
      return mediaFailure('timeout', `the decoder took too long for this file again: ${message}`, { cause: error });
    case 'killed':
      return mediaFailure('crashed', `the decoder failed on this file again: ${message}`, { cause: error });
    default:
      throw new TypeError(`no death is called ${String(error.why satisfies never)}`);
  }
}
