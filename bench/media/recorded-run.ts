import { spawn } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MediaKind } from '@backhaul/jobs/media';
import { NO_GUARDS } from '../../services/media-worker/src/sandbox/guards.ts';
import { shell } from './shell.ts';
import { startBenchWorker } from './worker.ts';

/** The one ffmpeg run of a job, to be run again without the job. */
export interface RecordedRun {
  readonly program: string;
  /** Its arguments, on a file of the caller's in a folder of the caller's. */
  args(folder: string): string[];
}

/**
 * Runs a job once with a script in ffmpeg's place that notes the arguments
 * and goes on as ffmpeg, so that a baseline runs the very same ones, whatever
 * the adapters make of them. Without guards, which would not let it write.
 */
export async function recordRun(env: NodeJS.ProcessEnv, kind: MediaKind, input: string): Promise<RecordedRun> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-recorded-'));
  try {
    const notes = join(folder, 'notes');
    await mkdir(notes);
    const script = join(folder, 'ffmpeg');
    let program = '';
    await using worker = await startBenchWorker({ ...env, MEDIA_TEMP_DIR: join(folder, 'scratch') }, (found) => {
      program = found.ffmpeg;
      return { ...found, ffmpeg: script, guards: NO_GUARDS };
    });
    await writeFile(script, `#!/bin/sh\nprintf '%s\\0' "$PWD" "$@" >'${notes}'/$$\nexec '${program}' "$@"\n`);
    await chmod(script, 0o755);
    for (const job of await worker.jobs(kind, await worker.upload(input), 1)) await job.run();
    const [note, ...others] = await readdir(notes);
    if (note === undefined || others.length > 0) throw new Error(`the job ran ffmpeg ${others.length + (note === undefined ? 0 : 1)} times, not once`);
    const [from = '', ...args] = (await readFile(join(notes, note), 'utf8')).split('\0').slice(0, -1);
    return { program, args: (to) => args.map((arg) => arg.replaceAll(from, to)) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A baseline's folder, with the original under the name that the worker gives it. */
export async function originalIn(parent: string, input: string): Promise<string> {
  const folder = await mkdtemp(join(parent, 'bare-'));
  await copyFile(input, join(folder, 'original'));
  return folder;
}

/** Runs it again from this process, with the memory that a worker has by then: the usual design, without guards and without anything around it. */
export async function spawnHere(run: RecordedRun, folder: string): Promise<void> {
  const child = spawn(run.program, run.args(folder), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream.resume();
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`${run.program} ended with code ${String(code)}`);
}

/** Runs it again, from a shell. */
export async function repeat(run: RecordedRun, folder: string): Promise<void> {
  await shell(run.program, run.args(folder), { folder });
}
