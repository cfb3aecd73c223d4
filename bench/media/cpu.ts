import { readFile } from 'node:fs/promises';
import { pause } from '@backhaul/runtime';

/** The unit of times in /proc/<pid>/stat: USER_HZ, 100 on every Linux. */
const TICK_MS = 10;

/** An orphan is reaped within microseconds; so long means that something was left running. */
const ORPHANS_MS = 5_000;

/**
 * The CPU that a piece of work takes, in milliseconds of user and system time:
 * this process's own and that of every process that it started, orphans and
 * those that still run (the launcher, the baselines' shell) included. Others
 * are counted in steps of 10 ms: measure many jobs at once.
 *
 * @throws Error when this process does not run under `subreaper.pl`
 */
export async function cpuOf(work: () => Promise<void>): Promise<number> {
  await orphansReaped();
  const othersBefore = await othersMs();
  const own = process.cpuUsage();
  await work();
  await orphansReaped();
  const { user, system } = process.cpuUsage(own);
  return (user + system) / 1_000 + (await othersMs()) - othersBefore;
}

/** Of all processes below this one, and of those that the subreaper has reaped, which are our orphans: it has no other child than us. */
async function othersMs(): Promise<number> {
  const [ended, orphans, running] = await Promise.all([timesOf(process.pid), timesOf(process.ppid), descendantsMs(process.pid)]);
  return ended.childrenMs + orphans.childrenMs + running;
}

/** User and system time of a process, and of its children that have ended and were reaped. */
async function timesOf(pid: number): Promise<{ readonly ownMs: number; readonly childrenMs: number }> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The second field is the name in brackets and may hold anything: count from behind it. utime is field 14, stime, cutime and cstime follow.
  const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map(Number);
  return { ownMs: (user + system) * TICK_MS, childrenMs: (childrenUser + childrenSystem) * TICK_MS };
}

/** What the processes below this one, which are still there, have used. */
async function descendantsMs(pid: number): Promise<number> {
  let sumMs = 0;
  for (const child of await childrenOf(pid)) {
    const { ownMs, childrenMs } = await timesOf(child);
    sumMs += ownMs + childrenMs + (await descendantsMs(child));
  }
  return sumMs;
}

/** The CPU of a process counts once it was reaped. */
async function orphansReaped(): Promise<void> {
  const until = performance.now() + ORPHANS_MS;
  for (;;) {
    const siblings = (await childrenOf(process.ppid)).filter((pid) => pid !== process.pid);
    if (siblings.length === 0) return;
    if (performance.now() > until) throw new Error(`process ${siblings.join(', ')} still runs, or this process does not run under subreaper.pl`);
    await pause(1);
  }
}

/** The processes that a process's first thread has started, which in Node is all of them. */
async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return children.split(' ').filter(Boolean).map(Number);
}

/** The resident memory of this process and all below it, in MiB. Pages that several share count for each. */
export async function treeRssMb(): Promise<number> {
  const pids = [process.pid];
  let kiB = 0;
  for (const pid of pids) {
    pids.push(...(await childrenOf(pid)));
    // A process that has just ended has none.
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    kiB += Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  }
  return kiB / 1_024;
}
