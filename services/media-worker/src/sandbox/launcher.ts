import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Closeable } from '@backhaul/runtime';
import { ChildDied, type ChildExit, type ChildRun, type RunChild } from './child.ts';
import type { FromLauncher, ToLauncher } from './launcher-messages.ts';

/** Starts children from a small process of its own. */
export interface Launcher extends Closeable {
  /** As `runChild` in `child.ts`, which is what the small process calls. */
  readonly runChild: RunChild;
  /** Of the small process, while it runs. */
  readonly pid: number | undefined;
}

interface Waiting {
  readonly run: ChildRun;
  /** The small process that has it. */
  readonly starter: ChildProcess;
  resolve(exit: ChildExit): void;
  reject(error: unknown): void;
}

const PROGRAM = fileURLToPath(new URL('launcher-process.ts', import.meta.url));

/** Ending, or killing a child, takes it milliseconds; longer means that it is stuck. Below the time after which a run is closed without its handler. */
const STUCK_MS = 4_000;

/**
 * Starts children from a small process instead of from this one.
 *
 * A start copies the page tables of the process that starts: at the size of a
 * worker with pictures in its buffers this took 5 to 8 ms of CPU, and stopped
 * the event loop for 15 to 20 ms, once or twice a job.
 *
 * The small process comes with the first run, knows none of our environment,
 * and is started again by the next run after it has died. Runs that
 * it had then are `not_started`: no file is to blame.
 */
export function createLauncher(): Launcher {
  let current: ChildProcess | undefined;
  let lastId = 0;
  const waiting = new Map<number, Waiting>();

  function start(): ChildProcess {
    const child = fork(PROGRAM, [], {
      // Children's output crosses as bytes, not as JSON.
      serialization: 'advanced',
      // Nothing of ours: each child's environment comes with its run.
      env: {},
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.on('message', (message) => receive(message as FromLauncher));
    let over = false;
    const ended = (why: string) => {
      if (over) return;
      over = true;
      if (current === child) current = undefined;
      for (const [id, { starter, reject }] of waiting) {
        // A successor may be at work already.
        if (starter !== child) continue;
        waiting.delete(id);
        reject(new ChildDied(`the process that starts decoders ended: ${why}`, 'not_started'));
      }
    };
    child.once('error', (error) => ended(error.message));
    child.once('exit', (code, signal) => ended(signal ?? `exit code ${code}`));
    return child;
  }

  function receive(message: FromLauncher): void {
    const run = waiting.get(message.id);
    if (run === undefined) return;
    switch (message.kind) {
      case 'output':
        void run.run.onOutput?.(Buffer.from(message.chunk.buffer, message.chunk.byteOffset, message.chunk.byteLength));
        return;
      case 'progress':
        run.run.onProgress?.(message.report);
        return;
      case 'exit':
        run.resolve(message.exit);
        break;
      case 'died':
        run.reject(new ChildDied(message.message, message.why, message.signal));
        break;
      case 'aborted':
        run.reject(run.run.signal.reason);
        break;
      case 'failed':
        run.reject(new Error(message.message));
        break;
    }
    waiting.delete(message.id);
    if (waiting.size === 0) letGo(run.starter);
  }

  /** Ends a small process that does not answer; its other runs are nobody's fault. */
  function leave(stuck: ChildProcess): void {
    if (current === stuck) current = undefined;
    stuck.kill('SIGKILL');
  }

  function tell(child: ChildProcess, message: ToLauncher): void {
    // A channel that is closed means that it ended: `ended` tells everybody who waits.
    child.send(message, () => undefined);
  }

  return {
    get pid() {
      return current?.pid;
    },
    async runChild(sandbox, run) {
      run.signal.throwIfAborted();
      const starter = (current ??= start());
      const id = (lastId += 1);
      const { signal, onOutput: _output, onProgress: _progress, ...sent } = run;
      let stuck: NodeJS.Timeout | undefined;
      const abort = () => {
        tell(starter, { kind: 'abort', id });
        // Else whoever gave up would wait for ever for the word that it is over.
        stuck = setTimeout(() => leave(starter), STUCK_MS);
      };
      signal.addEventListener('abort', abort, { once: true });
      try {
        return await new Promise<ChildExit>((resolve, reject) => {
          waiting.set(id, { run, starter, resolve, reject });
          holdOn(starter);
          tell(starter, { kind: 'run', id, sandbox: { guards: sandbox.guards, path: sandbox.path }, run: sent });
        });
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        clearTimeout(stuck);
        signal.removeEventListener('abort', abort);
      }
    },
    async close() {
      const child = current;
      current = undefined;
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const { promise: gone, resolve } = Promise.withResolvers<void>();
      child.once('exit', () => resolve());
      const stuck = setTimeout(() => child.kill('SIGKILL'), STUCK_MS);
      if (child.connected) child.disconnect();
      holdOn(child);
      await gone;
      clearTimeout(stuck);
    },
  };
}

/** While it works for us, this process stays. */
function holdOn(child: ChildProcess): void {
  child.ref();
  child.channel?.ref();
}

/** While it waits, it keeps no process alive that has nothing else to do. */
function letGo(child: ChildProcess): void {
  child.unref();
  child.channel?.unref();
}
