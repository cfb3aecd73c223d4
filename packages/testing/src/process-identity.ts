import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

/** A process as a pid file remembers it: the pid alone may belong to a stranger after a restart. */
export type ProcessIdentity = {
  pid: number;
  /** Start time as the system tells it; opaque, only compared. */
  started: string;
};

/** The identity of a live process, or undefined when there is none with this pid (zombies count as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  const started = process.platform === 'linux' ? startedOnLinux(pid) : startedByPs(pid);
  return started === undefined ? undefined : { pid, started };
}

/** True while exactly this process lives; false when its pid is free or was given to another one. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.started === identity.started;
}

/** Write `<path>` for a process that was just started. A process that is already gone leaves no file. */
export function writePidFile(path: string, pid: number): void {
  const identity = identify(pid);
  if (identity) writeFileSync(path, JSON.stringify(identity) + '\n');
}

/** The identity in a pid file, or undefined when there is no readable one. */
export function readPidFile(path: string): ProcessIdentity | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value !== 'object' || value === null) return undefined;
    const { pid, started } = value as Partial<ProcessIdentity>;
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}

/** Kill the process of a pid file together with its group if it is still that process; remove the file. */
export function sweepPidFile(path: string): boolean {
  const identity = readPidFile(path);
  const found = identity !== undefined && isAlive(identity);
  if (found) killGroup(identity.pid, 'SIGKILL');
  rmSync(path, { force: true });
  return found;
}

/** Signal a process group whose leader is `pid`, or the process alone when it leads no group. */
export function killGroup(pid: number, signal: NodeJS.Signals): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, signal);
    } catch (error) {
      // ESRCH: it is gone already, which is what the caller wants.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** The pids of a process's children, their children, and so on. */
export function descendantsOf(pid: number): number[] {
  const parents = process.platform === 'linux' ? parentsOnLinux() : parentsByPs();
  const found = [pid];
  for (const one of found) found.push(...[...parents].flatMap(([child, parent]) => (parent === one ? [child] : [])));
  return found.slice(1);
}

function parentsOnLinux(): Map<number, number> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return new Map(pids.map((pid) => [Number(pid), Number(statFields(Number(pid))?.[1] ?? 0)]));
}

function parentsByPs(): Map<number, number> {
  const lines = execFileSync('ps', ['-axo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [pid = 0, parent = 0] = line.trim().split(/\s+/).map(Number);
      return [pid, parent];
    }),
  );
}

function startedOnLinux(pid: number): string | undefined {
  const fields = statFields(pid);
  // State, and start time in clock ticks since boot: fields 3 and 22 of proc(5).
  return fields?.[0] === 'Z' || fields?.[0] === 'X' ? undefined : fields?.[19];
}

/** The fields of /proc/<pid>/stat from the third on; undefined when there is no such process. */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name in parentheses may hold spaces and parentheses itself.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function startedByPs(pid: number): string | undefined {
  try {
    const [state = '', ...started] = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
    })
      .trim()
      .split(/\s+/);
    return state.startsWith('Z') ? undefined : started.join(' ');
  } catch {
    return undefined;
  }
}
