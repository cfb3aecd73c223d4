import { type ChildProcess, spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { Writable } from 'node:stream';
import { type ChildLimits, type Guards, guard } from './guards.ts';

/** What children are started with. */
export interface Sandbox {
  readonly guards: Guards;
  /** Where children look for programs; all that they get of our environment, which holds credentials. */
  readonly path: string;
}

/** One run of ffmpeg or ffprobe. */
export interface ChildRun {
  readonly program: string;
  /** An argument vector; no shell ever sees it. */
  readonly args: readonly string[];
  /** The job's private folder: where it runs, and all that it may see and write of the disk. */
  readonly cwd: string;
  /** Kills the child and everything it started. */
  readonly signal: AbortSignal;
  /** Killed as stuck after so long without output or progress. */
  readonly stallMs: number;
  /** Killed as too slow after so long, however much it moves. No limit by default: the signal is one as well. */
  readonly wallMs?: number | undefined;
  /** What the kernel holds the child to, where it can. */
  readonly limits: ChildLimits;
  /** Its standard output, as it comes. While a promise that it returns is open, no more is read. */
  onOutput?(chunk: Buffer): unknown;
  /** Its descriptor 3, where `-progress pipe:3` goes: one report each. */
  onProgress?(report: ReadonlyMap<string, string>): void;
}

/** How a child ended by itself. */
export interface ChildExit {
  readonly exitCode: number;
  /** What it complained about, cut to 64 KB. */
  readonly stderr: string;
}

/** Why a child did not come to its own end. */
export type ChildDeath = 'killed' | 'stalled' | 'wall_clock' | 'not_started';

/** The child did not end by itself: killed from outside, by a limit, or by us because nothing moved. Another try may go better. */
export class ChildDied extends Error {
  readonly code = 'transcoder_died';
  readonly why: ChildDeath;
  /** What killed it, when it was not us; a limit shows here as well: SIGXCPU, SIGXFSZ. */
  readonly signal: NodeJS.Signals | null;

  constructor(message: string, why: ChildDeath = 'killed', signal: NodeJS.Signals | null = null) {
    super(message);
    this.name = 'ChildDied';
    this.why = why;
    this.signal = signal;
  }
}

/** More is read, because a child that fills its pipe would hang, but not kept. */
const STDERR_BYTES = 64 * 1024;

/** Below everything else on the machine: a health check must not wait for a video. */
const NICENESS = 10;

/**
 * Runs a child to its end.
 *
 * It leads a process group of its own, which is killed as a whole; where the
 * machine can, it also dies with this process, however that dies; its
 * environment is empty but for PATH, because ours holds credentials.
 *
 * @throws the signal's reason, when that aborted
 * @throws {ChildDied}
 */
export async function runChild(sandbox: Sandbox, run: ChildRun): Promise<ChildExit> {
  run.signal.throwIfAborted();
  const { command, args, filter } = guard(sandbox.guards, run.limits, run.cwd, run.program, run.args);
  const child = spawn(command, args, {
    cwd: run.cwd,
    env: { PATH: sandbox.path, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', filter === undefined ? 'ignore' : 'pipe'],
    // A group of its own, so that what it starts can be killed with it.
    detached: true,
  });
  const ending = ended(child);
  const kill = () => killGroup(child.pid);
  lower(child.pid);
  const filterInput = child.stdio[4];
  if (filterInput instanceof Writable) {
    // EPIPE when it could not be started: its end tells why.
    filterInput.on('error', () => undefined).end(filter);
  }

  let given: ChildDied | undefined;
  const giveUp = (why: ChildDeath, message: string) => {
    given ??= new ChildDied(`${run.program} ${message}`, why);
    kill();
  };
  const onStall = () => giveUp('stalled', `made no progress for ${run.stallMs} ms and was killed`);
  const wallTimer =
    run.wallMs === undefined ? undefined : setTimeout(() => giveUp('wall_clock', `took longer than ${run.wallMs} ms and was killed`), run.wallMs);
  let stallTimer = setTimeout(onStall, run.stallMs);
  const moved = () => {
    clearTimeout(stallTimer);
    stallTimer = setTimeout(onStall, run.stallMs);
  };
  run.signal.addEventListener('abort', kill, { once: true });

  const complaints: Buffer[] = [];
  let keptBytes = 0;
  child.stderr?.on('data', (chunk: Buffer) => {
    if (keptBytes >= STDERR_BYTES) return;
    complaints.push(chunk.subarray(0, STDERR_BYTES - keptBytes));
    keptBytes += chunk.length;
  });
  child.stdout?.on('data', (chunk: Buffer) => {
    moved();
    const taken = run.onOutput?.(chunk);
    if (taken instanceof Promise) {
      child.stdout?.pause();
      void taken.then(() => child.stdout?.resume());
    }
  });
  const readReport = reportReader((report, changed) => {
    if (changed) moved();
    run.onProgress?.(report);
  });
  child.stdio[3]?.on('data', (chunk: Buffer) => readReport(chunk.toString('latin1')));

  try {
    const { exitCode, signal: killedBy } = await ending;
    run.signal.throwIfAborted();
    if (given !== undefined) throw given;
    const signal = killedBy ?? signalOf(exitCode);
    if (signal !== null) throw new ChildDied(`${run.program} was killed by ${signal}`, 'killed', signal);
    return { exitCode, stderr: Buffer.concat(complaints).toString('utf8').trim() };
  } finally {
    clearTimeout(stallTimer);
    clearTimeout(wallTimer);
    run.signal.removeEventListener('abort', kill);
    // Whatever it left in its group.
    kill();
  }
}

/** How children are run: from this process, or from another one on its behalf. */
export type RunChild = typeof runChild;

/** How long the pipes of a child that has ended may stay open: something that got away from its group may hold them. */
const CLOSING_MS = 1_000;

/**
 * Waits for the end of a child and of its output.
 * @throws {ChildDied} it could not be started
 */
function ended(child: ChildProcess): Promise<{ exitCode: number; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new ChildDied(`${child.spawnfile} could not be started: ${error.message}`, 'not_started')));
    child.once('exit', () => {
      killGroup(child.pid);
      const letGo = () => {
        // Not read to its end because nobody takes it at the moment: what was said is still to be heard.
        if (child.stdout?.isPaused() === true) closing = setTimeout(letGo, CLOSING_MS);
        else child.stdio.forEach((stream) => stream?.destroy());
      };
      let closing = setTimeout(letGo, CLOSING_MS);
      child.once('close', () => clearTimeout(closing));
    });
    child.once('close', (code, signal) => resolve({ exitCode: code ?? -1, signal }));
  });
}

/** Signals that end a program which does not handle them. */
const DEADLY = ['SIGILL', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGKILL', 'SIGSEGV', 'SIGTERM', 'SIGXCPU', 'SIGXFSZ', 'SIGSYS'] as const;

/** A program between us and the child reports the child's death by a signal as 128 and its number, as shells do. */
function signalOf(exitCode: number): NodeJS.Signals | null {
  return DEADLY.find((name) => exitCode === 128 + constants.signals[name]) ?? null;
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // ESRCH: the whole group is gone, which is what we want.
  }
}

function lower(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, NICENESS);
  } catch {
    // It is over already, or this system does not let us.
  }
}

/** Cuts ffmpeg's `key=value` lines into reports; says of each whether it differs from the one before in how far the work is. */
function reportReader(onReport: (report: ReadonlyMap<string, string>, changed: boolean) => void): (text: string) => void {
  let rest = '';
  let report = new Map<string, string>();
  let before = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    // A line without an end in sight is not ffmpeg's.
    rest = (lines.pop() ?? '').slice(-1_000);
    for (const line of lines) {
      const cut = line.indexOf('=');
      if (cut < 1) continue;
      const key = line.slice(0, cut);
      report.set(key, line.slice(cut + 1).trim());
      if (key !== 'progress') continue;
      const state = `${report.get('out_time_us')}/${report.get('total_size')}/${report.get('frame')}`;
      onReport(report, state !== before);
      before = state;
      report = new Map();
    }
  };
}
