import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { killGroup } from './process-identity.ts';
import { endWithThisProcess } from './reaper.ts';
import { repositoryRoot } from './repository-root.ts';

/** The services of the fleet, in the order in which they are started. */
export const FLEET = ['bridge', 'media-worker', 'notification-worker', 'cleanup-worker', 'scheduler', 'ops-api'] as const;

export type FleetOptions = {
  /** All that the services get besides PATH, HOME and TMPDIR; usually `stack.env`. Their PORT is chosen here. */
  env: Record<string, string>;
  /** Names of folders under `services/` (default FLEET). */
  services?: readonly string[];
  /** Additional variables by service; these win. A PORT in it fixes the port of the first instance. */
  overrides?: Record<string, Record<string, string>>;
  /** How many of each (default 1). */
  instances?: Record<string, number>;
  /** One log file per process goes here (default `.backhaul/fleet-<pid>`). */
  logDir?: string;
  /** How long a service may take until /readyz answers 200 (default 30,000). */
  readyTimeoutMs?: number;
  /** Arguments for Node before the program, such as `--watch`. */
  nodeArgs?: readonly string[];
  /** The program of a service (default `services/<name>/src/main.ts`); relative to the repository root. */
  entry?: (service: string) => string;
};

export type Exit = { code: number | null; signal: NodeJS.Signals | null };

/** One running service. */
export type FleetProcess = {
  /** The service's name; of several instances `name`, `name-2`, `name-3`, .. */
  readonly name: string;
  readonly service: string;
  readonly pid: number;
  /** `http://127.0.0.1:<port>`; stays the same over a restart. */
  readonly url: string;
  /** Resolves when it has ended; after `restart` a new promise. */
  readonly exited: Promise<Exit>;
  readonly logFile: string;
  /** Send a signal (default SIGKILL) to this process alone; what it leaves behind is the test's subject. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
  /** Everything it has written, over all its runs. */
  logs(): string;
  /** Start it again after it has ended, and wait until it is ready. */
  restart(env?: Record<string, string>): Promise<void>;
};

export type Fleet = {
  readonly processes: readonly FleetProcess[];
  /** The process with this name. Throws when there is none. */
  get(name: string): FleetProcess;
  /** SIGTERM to all, SIGKILL to those that are still there after the time (default 20,000). */
  stop(options?: { timeoutMs?: number }): Promise<Record<string, Exit>>;
  [Symbol.asyncDispose](): Promise<void>;
};

let fleets = 0;

/**
 * Run services as a deployment would, each its own process, and wait until all are ready. They end with
 * this process, however it ends.
 *
 * @throws Error with the end of the log of the service that ended early or did not get ready
 */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { services = FLEET, instances = {} } = options;
  const logDir = options.logDir ?? join(repositoryRoot, '.backhaul', `fleet-${process.pid}-${++fleets}`);
  mkdirSync(logDir, { recursive: true });
  const launches = services.flatMap((service) =>
    Array.from({ length: instances[service] ?? 1 }, (_, index) => ({ service, name: index === 0 ? service : `${service}-${index + 1}` })),
  );
  const processes: Launched[] = [];
  for (const { service, name } of launches) {
    const overrides = options.overrides?.[service] ?? {};
    const { PORT, ...rest } = overrides;
    const port = PORT === undefined || name !== service ? await freePort() : Number(PORT);
    processes.push(prepare({ ...options, service, name, port, logDir, env: { ...options.env, ...rest } }));
  }

  const stop = async ({ timeoutMs = 20_000 } = {}): Promise<Record<string, Exit>> => {
    const exits = processes.map(async (one) => [one.name, await one.end(timeoutMs)] as const);
    return Object.fromEntries(await Promise.all(exits));
  };
  const started = await Promise.allSettled(processes.map((one) => one.restart()));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed) {
    await stop({ timeoutMs: 2_000 });
    throw failed.reason;
  }
  return {
    processes,
    get(name) {
      const found = processes.find((one) => one.name === name);
      if (!found) throw new Error(`no process "${name}" in this fleet; there are ${processes.map((one) => one.name).join(', ')}`);
      return found;
    },
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

type Launched = FleetProcess & { end(timeoutMs: number): Promise<Exit> };
type Launch = FleetOptions & { service: string; name: string; port: number; logDir: string };

function prepare(launch: Launch): Launched {
  const { service, name, port, logDir, readyTimeoutMs = 30_000, nodeArgs = [] } = launch;
  const entry = launch.entry?.(service) ?? join('services', service, 'src', 'main.ts');
  const url = `http://127.0.0.1:${port}`;
  const logFile = join(logDir, `${name}.log`);
  let pid = 0;
  let running = false;
  let hold = (): void => {};
  let exited: Promise<Exit> = Promise.resolve({ code: null, signal: null });

  async function restart(env: Record<string, string> = {}): Promise<void> {
    if (running) throw new Error(`${name} is running`);
    const log = openSync(logFile, 'a');
    const logStart = readFileSync(logFile).length;
    const child = spawn(process.execPath, [...nodeArgs, entry], {
      cwd: repositoryRoot,
      stdio: ['ignore', log, log],
      // Its own group, so that Ctrl-C reaches only us and the fleet stops in order.
      detached: true,
      env: { ...essentials(), ...launch.env, ...env, PORT: String(port) },
    });
    closeSync(log);
    // A test that forgets its fleet must not hang; whoever waits for the end takes it back (`exited`).
    child.unref();
    hold = () => child.ref();
    if (child.pid === undefined) throw new Error(`${process.execPath} could not be run`);
    pid = child.pid;
    running = true;
    const { forget } = endWithThisProcess(pid, 'KILL');
    exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        running = false;
        forget();
        resolve({ code, signal });
      });
    });
    const deadline = performance.now() + readyTimeoutMs;
    while (!(await isReady(url))) {
      if (!running || performance.now() > deadline) {
        const why = running ? `was not ready within ${readyTimeoutMs} ms` : `ended with ${describe(await exited)} before it was ready`;
        throw new Error(`${name} ${why}; its log ${logFile} ends with:\n${readFileSync(logFile).subarray(logStart).toString().slice(-3000)}`);
      }
      await delay(25);
    }
  }

  return {
    name,
    service,
    url,
    logFile,
    get pid() {
      return pid;
    },
    get exited() {
      hold();
      return exited;
    },
    logs: () => readFileSync(logFile, 'utf8'),
    restart,
    kill(signal = 'SIGKILL') {
      hold();
      if (running) process.kill(pid, signal);
      return exited;
    },
    async end(timeoutMs) {
      if (!running) return exited;
      process.kill(pid, 'SIGTERM');
      const late = setTimeout(() => killGroup(pid, 'SIGKILL'), timeoutMs);
      const exit = await exited;
      clearTimeout(late);
      return exit;
    },
  };
}

/** What a program needs to run at all; nothing else of our environment may leak into a service. */
function essentials(): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, ...(TMPDIR === undefined ? {} : { TMPDIR }) };
}

async function isReady(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) });
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false;
  }
}

const describe = ({ code, signal }: Exit): string => (signal ? `signal ${signal}` : `code ${code}`);
