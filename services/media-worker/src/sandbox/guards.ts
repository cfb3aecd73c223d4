import { dirname, join } from 'node:path';

/** What stands between a decoder and the machine, as far as this machine has it. */
export interface Guards {
  /** bubblewrap: no network, no other files and processes, dies with us. Replaces `unshare` and `setpriv`. */
  readonly bwrap: boolean;
  /** The seccomp filter that goes with bubblewrap: no new processes, sockets or links. */
  readonly filter: Buffer | undefined;
  /** Arguments under which `unshare` takes the network away; undefined where it may not. */
  readonly unshare: readonly string[] | undefined;
  /** Arguments under which `setpriv` makes it die with us and keep as few rights as it can; undefined where it may not. */
  readonly setpriv: readonly string[] | undefined;
  /** Limits of memory, CPU time, file size and open files, by `prlimit`. */
  readonly prlimit: boolean;
}

/** Kernel limits of one child. */
export interface ChildLimits {
  readonly memoryBytes: number;
  readonly cpuSeconds: number;
  readonly fileBytes: number;
  /** Default 64. */
  readonly openFiles?: number;
}

/** No guards at all: macOS, or a machine without util-linux. */
export const NO_GUARDS: Guards = { bwrap: false, filter: undefined, unshare: undefined, setpriv: undefined, prlimit: false };

/** A command line, and what it reads from its descriptor 4. */
export interface GuardedCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly filter: Buffer | undefined;
}

/**
 * Puts the guards before a command: small programs that set something up and
 * then become the next one.
 * @param folder the only place that the command sees and may write to, where the machine can hold it to that
 */
export function guard(guards: Guards, limits: ChildLimits, folder: string, program: string, args: readonly string[]): GuardedCommand {
  const limiting = guards.prlimit
    ? ['prlimit', `--as=${limits.memoryBytes}`, `--cpu=${limits.cpuSeconds}`, `--fsize=${limits.fileBytes}`, `--nofile=${limits.openFiles ?? 64}`, '--core=0']
    : [];
  const { filter } = guards;
  const inside = guards.bwrap
    ? ['bwrap', ...bubble(folder, program), ...(filter === undefined ? [] : ['--seccomp', '4'])]
    : [
        ...(guards.unshare === undefined ? [] : ['unshare', ...guards.unshare]),
        // After unshare: a new user namespace makes the kernel forget the signal.
        ...(guards.setpriv === undefined ? [] : ['setpriv', ...guards.setpriv]),
      ];
  const [command = program, ...rest] = [...limiting, ...inside, program, ...args];
  return { command, args: rest, filter: guards.bwrap ? filter : undefined };
}

/** Where programs and their libraries lie; links where these are links. */
const PROGRAMS = ['/usr', '/bin', '/lib', '/lib32', '/lib64', '/opt/homebrew'];

/** What the dynamic linker reads; a preloaded allocator is named there, and Debian's libraries are found through the alternatives. */
const LINKER = ['/etc/ld.so.cache', '/etc/ld.so.preload', '/etc/alternatives'];

/**
 * bubblewrap's arguments: a world of its own with nothing in it but programs,
 * read only, and one folder. Without /proc: mounting one is forbidden in most
 * containers, and there is nothing in it that a decoder needs.
 */
export function bubble(folder: string, program: string): string[] {
  const own = dirname(program);
  const places = program.includes('/') && !PROGRAMS.some((place) => own === place || own.startsWith(join(place, '/'))) ? [...PROGRAMS, own] : PROGRAMS;
  return [
    '--die-with-parent',
    // Without bubblewrap's own first process: it is not waited for, and the CPU time of all below it would be missing from what our children used.
    '--as-pid-1',
    ...['--unshare-net', '--unshare-pid', '--unshare-ipc', '--unshare-uts'],
    // bubblewrap keeps all of root's rights when root starts it, whatever its manual says (bubblewrap issue 561).
    ...['--cap-drop', 'ALL'],
    ...[...places, ...LINKER].flatMap((place) => ['--ro-bind-try', place, place]),
    ...['--dev', '/dev', '--bind', folder, folder, '--chdir', folder],
    // Both lie in memory, outside of the limit of address space: a child could fill the machine's.
    ...['--remount-ro', '/dev', '--remount-ro', '/'],
  ];
}
