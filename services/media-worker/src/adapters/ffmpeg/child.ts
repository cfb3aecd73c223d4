import { setPriority } from 'node:os';
import { execa } from 'execa';
import type { Toolchain } from './toolchain.ts';

/** One run of ffmpeg or ffprobe. */
export interface ChildRun {
  readonly program: string;
  /** An argument vector; no shell ever sees it. */
  readonly args: readonly string[];
  /** The job's private folder: ffmpeg writes its own scratch files to where it runs. */
  readonly cwd: string;
  /** Kills the child and everything it started. */
  readonly signal: AbortSignal;
  /** Killed as stuck after so long without output or progress. */
  readonly stallMs: number;
  /** What the kernel holds the child to, where it can. */
  readonly limits: ChildLimits;
  /** Its standard output, as it comes. */
  onOutput?(chunk: Buffer): void;
  /** Its descriptor 3, where `-progress pipe:3` goes: one report each. */
  onProgress?(report: ReadonlyMap<string, string>): void;
}

/** Kernel limits of one child. */
export interface ChildLimits {
  readonly memoryBytes: number;
  readonly cpuSeconds: number;
  readonly fileBytes: number;
}

/** How a child ended by itself. */
export interface ChildExit {
  readonly exitCode: number;
  /** What it complained about, cut to 64 KB. */
  readonly stderr: string;
}

/** The child did not end by itself: killed from outside, by a limit, or by us because nothing moved. Another try may go better. */
export class ChildDied extends Error {
  readonly code = 'transcoder_died';

  constructor(message: string) {
    super(message);
    this.name = 'ChildDied';
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
export async function runChild(toolchain: Toolchain, run: ChildRun): Promise<ChildExit> {
  run.signal.throwIfAborted();
  const [command = run.program, ...args] = [...guards(toolchain, run.limits), run.program, ...run.args];
  const child = execa(command, args, {
    cwd: run.cwd,
    extendEnv: false,
    env: { PATH: toolchain.path, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    encoding: 'buffer',
    buffer: false,
    reject: false,
    // A group of its own, so that what it starts can be killed with it.
    detached: true,
    cleanup: false,
  });
  const kill = () => killGroup(child.pid);
  lower(child.pid);

  let stuck = false;
  const onStall = () => {
    stuck = true;
    kill();
  };
  let stallTimer = setTimeout(onStall, run.stallMs);
  const moved = () => {
    clearTimeout(stallTimer);
    stallTimer = setTimeout(onStall, run.stallMs);
  };
  run.signal.addEventListener('abort', kill, { once: true });

  const complaints: Buffer[] = [];
  let keptBytes = 0;
  child.stderr.on('data', (chunk: Buffer) => {
    if (keptBytes >= STDERR_BYTES) return;
    complaints.push(chunk.subarray(0, STDERR_BYTES - keptBytes));
    keptBytes += chunk.length;
  });
  child.stdout.on('data', (chunk: Buffer) => {
    moved();
    run.onOutput?.(chunk);
  });
  const readReport = reportReader((report, changed) => {
    if (changed) moved();
    run.onProgress?.(report);
  });
  child.stdio[3]?.on('data', (chunk: Buffer) => readReport(chunk.toString('latin1')));

  try {
    const result = await child;
    run.signal.throwIfAborted();
    const stderr = Buffer.concat(complaints).toString('utf8').trim();
    if (stuck) throw new ChildDied(`${run.program} made no progress for ${run.stallMs} ms and was killed`);
    if (result.exitCode === undefined) {
      throw new ChildDied(
        result.signal === undefined ? `${run.program} could not be started: ${result.shortMessage}` : `${run.program} was killed by ${result.signal}`,
      );
    }
    return { exitCode: result.exitCode, stderr };
  } finally {
    clearTimeout(stallTimer);
    run.signal.removeEventListener('abort', kill);
    // Whatever it left in its group.
    kill();
  }
}

/** Small programs that set something up and then become the child, keeping its pid. */
function guards(toolchain: Toolchain, limits: ChildLimits): string[] {
  const dying = toolchain.diesWithParent ? ['setpriv', '--pdeathsig', 'KILL', '--no-new-privs'] : [];
  const limiting = toolchain.canLimit
    ? ['prlimit', `--as=${limits.memoryBytes}`, `--cpu=${limits.cpuSeconds}`, `--fsize=${limits.fileBytes}`, '--core=0', '--nofile=64']
    : [];
  return [...dying, ...limiting];
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
