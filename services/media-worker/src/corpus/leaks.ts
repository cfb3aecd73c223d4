import { readFile, readdir, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** What this process holds at a moment. */
export interface Holdings {
  /** Open files, pipes and other descriptors, without sockets: those belong to pools, which keep some. */
  readonly descriptors: readonly string[];
  readonly sockets: number;
  /** Processes that we started, or our launcher for us, and all that work in `folder`. */
  readonly processes: readonly string[];
}

/** Looks at /proc. Linux only: elsewhere there is nothing to see, and nothing is found. */
export async function takeStock(folder: string): Promise<Holdings> {
  const links = (await names('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => undefined));
  const targets = (await Promise.all(links)).filter((target) => target !== undefined);
  const processes: string[] = [];
  // It stays as long as we do; what it has started must not.
  const launchers = new Set<string>();
  for (const pid of (await names('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [stat, cwd, command] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
      readlink(`/proc/${pid}/cwd`).catch(() => ''),
      readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
    ]);
    // The parent is the second field behind the name in brackets, which may hold anything.
    const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
    if (parent === String(process.pid) && command.includes('launcher-process.ts')) launchers.add(pid);
    else if (parent === String(process.pid) || launchers.has(parent ?? '') || cwd.startsWith(folder))
      processes.push(`${pid} ${command.replaceAll('\0', ' ').slice(0, 120)}`);
  }
  return {
    descriptors: targets.filter((target) => !target.startsWith('socket:') && !target.startsWith('/proc/')).toSorted(),
    sockets: targets.filter((target) => target.startsWith('socket:')).length,
    processes,
  };
}

/** Looks again until `settled` says so, or for five seconds: a killed child's pipes close a moment after its job ended. */
export async function takeStockUntil(folder: string, settled: (holdings: Holdings) => boolean): Promise<Holdings> {
  for (let tries = 0; ; tries++) {
    const holdings = await takeStock(folder);
    if (settled(holdings) || tries === 50) return holdings;
    await delay(100);
  }
}

function names(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

/** Watches the memory of this process; the children have limits of their own. */
export function watchMemory(): { peakBytes(): number; stop(): void } {
  let peakBytes = process.memoryUsage.rss();
  const timer = setInterval(() => (peakBytes = Math.max(peakBytes, process.memoryUsage.rss())), 100);
  timer.unref();
  return { peakBytes: () => peakBytes, stop: () => clearInterval(timer) };
}
