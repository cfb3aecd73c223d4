import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { descendantsOf, identify, isAlive, killGroup, sweepPidFile, writePidFile } from './process-identity.ts';
import { endWithThisProcess } from './reaper.ts';

/** One server of a stack, for tests that stop, kill and restart it. */
export type ServerControl = {
  readonly name: string;
  /** Connection URL; the same before and after a restart. */
  readonly url: string;
  readonly port: number;
  /** Process id while it runs. */
  readonly pid: number | undefined;
  /** True when the URL was given from outside: then stop, kill, start and wipe throw. */
  readonly external: boolean;
  /** Log file, of all runs. Empty for an external server. */
  readonly logFile: string;
  /** Stop it the orderly way and wait until it is gone. Nothing happens when it does not run. */
  stop(): Promise<void>;
  /** SIGKILL to it and all its children, and wait until it is gone. */
  kill(): Promise<void>;
  /** Start it again on the same port with the same data, and wait until it answers. */
  start(): Promise<void>;
  /** Throw away its data. It must be stopped. */
  wipe(): Promise<void>;
};

/** What to run, and how to tell that it answers. Commands and folders only; no state. */
export type ServerRecipe = {
  name: string;
  url: string;
  port: number;
  /** Folder of the stack: pid file and log file go here. */
  dir: string;
  /** Made new at each start, since some servers want freshly written files. */
  command: () => Promise<{ file: string; args: string[]; env?: NodeJS.ProcessEnv; cwd?: string }>;
  /** User to run as; by default the present one. */
  user?: { uid: number; gid: number } | undefined;
  /** True once the server takes work. Asked every few milliseconds. */
  answers: () => Promise<boolean>;
  startTimeoutMs: number;
  stopSignal: NodeJS.Signals;
  /** After this long a stop becomes a kill. */
  stopTimeoutMs: number;
  /** What the reaper sends first; see reaper.ts. */
  reapSignal?: 'KILL' | 'QUIT' | 'TERM';
  wipe: () => Promise<void>;
};

/** The kernel takes a killed process away within milliseconds, on a busy machine within tenths of a second. */
const KILLED_MS = 5_000;

/** Make the control of a server that is not running yet. Sweeps what a crashed run left of it. */
export function controlServer(recipe: ServerRecipe): ServerControl {
  const pidFile = join(recipe.dir, `${recipe.name}.pid`);
  const logFile = join(recipe.dir, `${recipe.name}.log`);
  sweepPidFile(pidFile);
  let child: ChildProcess | undefined;
  let exited: Promise<void> = Promise.resolve();

  async function start(): Promise<void> {
    if (child) return;
    const { file, args, env, cwd } = await recipe.command();
    const log = openSync(logFile, 'a');
    const logStart = readFileSync(logFile).length;
    const started = spawn(file, args, {
      stdio: ['ignore', log, log],
      // Its own process group: Ctrl-C must not reach the servers before the fleet has stopped, and one
      // signal must reach everything that the server spawned.
      detached: true,
      env: env ?? process.env,
      cwd: cwd ?? recipe.dir,
      ...(recipe.user ? { uid: recipe.user.uid, gid: recipe.user.gid } : {}),
    });
    closeSync(log);
    const { pid } = started;
    let ending = '';
    exited = new Promise((resolve) => {
      started.once('error', (error) => {
        ending = `could not be run: ${error.message}`;
        child = undefined;
        resolve();
      });
      started.once('exit', (code, signal) => {
        ending = `ended with ${signal ?? `code ${code}`}`;
        child = undefined;
        rmSync(pidFile, { force: true });
        resolve();
      });
    });
    child = started;
    // A server left over at the end of the event loop must not keep a finished program alive; the reaper
    // ends it.
    started.unref();
    if (pid !== undefined) {
      const { forget } = endWithThisProcess(pid, recipe.reapSignal ?? 'KILL');
      void exited.then(forget);
      writePidFile(pidFile, pid);
    }
    const deadline = performance.now() + recipe.startTimeoutMs;
    while (!(await recipe.answers())) {
      if (!child || performance.now() > deadline) {
        const what = child ? `did not answer within ${recipe.startTimeoutMs} ms` : ending;
        const log = readFileSync(logFile).subarray(logStart).toString('utf8');
        await kill();
        throw new Error(`${recipe.name} (${file}) ${what}; its log ${logFile} ends with:\n${log.slice(-2000)}`);
      }
      await delay(10);
    }
    if (!child) throw new Error(`${recipe.name} ${ending}, but another process answers on port ${recipe.port}`);
  }

  async function end(signal: NodeJS.Signals, timeoutMs: number): Promise<void> {
    const pid = child?.pid;
    if (pid === undefined) return exited;
    process.kill(pid, signal);
    child?.ref();
    const late = setTimeout(() => killGroup(pid, 'SIGKILL'), timeoutMs);
    await exited;
    clearTimeout(late);
    child = undefined;
  }

  async function kill(): Promise<void> {
    const pid = child?.pid;
    child?.ref();
    if (pid === undefined) return exited;
    // Stopped first: a backend that it forks between the look and the kill would be missed.
    killGroup(pid, 'SIGSTOP');
    // Postgres' backends are groups of their own and outlive the postmaster for a moment, in which a new
    // one would refuse to start on their shared memory.
    const descendants = descendantsOf(pid).flatMap((one) => identify(one) ?? []);
    for (const one of [pid, ...descendants.map((descendant) => descendant.pid)]) killGroup(one, 'SIGKILL');
    await exited;
    const deadline = performance.now() + KILLED_MS;
    while (descendants.some(isAlive) && performance.now() < deadline) await delay(5);
  }

  return {
    name: recipe.name,
    url: recipe.url,
    port: recipe.port,
    external: false,
    logFile,
    get pid() {
      return child?.pid;
    },
    start,
    stop: () => end(recipe.stopSignal, recipe.stopTimeoutMs),
    kill,
    async wipe() {
      if (child) throw new Error(`stop ${recipe.name} before wiping its data`);
      await recipe.wipe();
    },
  };
}

/** The control of a server that somebody else runs: its URL only. */
export function externalServer(name: string, url: string): ServerControl {
  const refuse = (): Promise<never> => Promise.reject(new Error(`${name} was given by its URL from outside and is not ours to stop or start`));
  const port = Number(new URL(url).port);
  return { name, url, port, pid: undefined, external: true, logFile: '', stop: refuse, kill: refuse, start: refuse, wipe: refuse };
}
