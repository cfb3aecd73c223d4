import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cpuByProcess } from './cpu-by-process.ts';

const LOOK_EVERY_MS = 10;
const STUCK_AFTER_MS = 120_000;

/** A backlog that is being worked off. */
export interface Contestant {
  /** How many jobs were done so far; asked every 10 ms. */
  done(): number | Promise<number>;
  /** Once all were done: whether nothing of them is left in the store either. */
  drained(): Promise<boolean>;
  /** The share of the backlog that is not counted, while processes start and their code is compiled. */
  readonly runUp: number;
}

/**
 * Follows a backlog until it is worked off. Returns jobs per second, from the
 * moment the run-up is done until nothing is left, and tells on standard error
 * where the CPU time went.
 *
 * @throws Error when nothing is done for two minutes
 */
export async function race(count: number, { done, drained, runUp }: Contestant): Promise<number> {
  let from: { at: number; done: number; cpu: Map<string, number> } | undefined;
  let latest = { at: performance.now(), done: 0 };
  for (; ; await delay(LOOK_EVERY_MS)) {
    const now = { at: performance.now(), done: await done() };
    if (now.done > latest.done) latest = now;
    else if (now.at - latest.at > STUCK_AFTER_MS) throw new Error(`${now.done} of ${count} jobs were done, and no more for two minutes`);
    if (now.done >= count * runUp) from ??= { ...now, cpu: cpuByProcess() };
    if (now.done < count || from === undefined || !(await drained())) continue;
    if (from.done === count) throw new Error('the backlog is too small to be measured');
    tellCpu(from.cpu, count - from.done);
    return ((count - from.done) / (performance.now() - from.at)) * 1_000;
  }
}

function tellCpu(before: ReadonlyMap<string, number>, jobs: number): void {
  const parts = [...cpuByProcess()].map(([owner, ms]) => `${owner} ${Math.round(((ms - (before.get(owner) ?? 0)) * 1_000) / jobs)}`);
  process.stderr.write(`    CPU in µs per job: ${parts.join(', ')}\n`);
}

/** Worker processes that tell how many jobs they have done. */
export interface Counting {
  done(): number;
  stop(): Promise<void>;
}

/** Starts `processes` of a program of this folder; each sends its count as its message. */
export function startCounting(program: string, processes: number, args: readonly string[], env: Record<string, string>): Counting {
  const counts = new Map<ChildProcess, number>();
  for (let index = 0; index < processes; index += 1) {
    const child = fork(fileURLToPath(new URL(program, import.meta.url)), args, { env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', 2, 2, 'ipc'] });
    counts.set(child, 0);
    child.on('message', (count) => void counts.set(child, Number(count)));
  }
  return {
    done: () => [...counts.values()].reduce((sum, count) => sum + count, 0),
    async stop() {
      await Promise.all([...counts.keys()].map(kill));
    },
  };
}

/** Kills a process and waits until it is gone. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
