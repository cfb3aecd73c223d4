import { dirname } from 'node:path';
import { type MediaFile, TransientMediaFailure, mediaFailure } from '@backhaul/jobs/media';
import { ChildDied, type ChildExit, runChild } from '../../sandbox/child.ts';
import type { ChildLimits } from '../../sandbox/guards.ts';
import type { Toolchain } from './toolchain.ts';

/** How ffmpeg is run. */
export interface FfmpegOptions {
  readonly toolchain: Toolchain;
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
  readonly signal: AbortSignal;
  onOutput?(chunk: Buffer): void;
  onProgress?(report: ReadonlyMap<string, string>): void;
}

/**
 * Runs ffmpeg or ffprobe in the folder of its source.
 *
 * @throws {TransientMediaFailure} decoder_died, when it was killed, stuck or too slow in the job's first try
 * @throws {PermanentFailure} crashed, when that happened again
 */
export async function runFfmpeg({ toolchain, stallMs, limits }: FfmpegOptions, run: FfmpegRun): Promise<ChildExit> {
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
  if (attempt > 1) return mediaFailure('crashed', `the decoder failed on this file again: ${error.message}`, { cause: error });
  return new TransientMediaFailure('decoder_died', error.message, { cause: error });
}
