/**
 * `make up` and `make down`: stack and fleet that stay.
 *
 *   node tools/up.ts        start them, print the addresses, return
 *   node tools/up.ts down   stop them
 *
 * A process in the background owns them (`.backhaul/up.pid`), starts a service again that ends by itself, and takes
 * everything along when it goes. Data stays in `.backhaul/up` from one `make up` to the next.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type FleetProcess, type ProcessIdentity, isAlive, readPidFile, repositoryRoot, writePidFile } from '@backhaul/testing';
import { envFile, startLocalFleet } from './local-fleet.ts';

const folder = join(repositoryRoot, '.backhaul');
const dir = join(folder, 'up');
const pidFile = join(folder, 'up.pid');
const summaryFile = join(dir, 'summary.txt');
const logFile = join(folder, 'up.log');

/** A service that ends at once must not be started again in a busy loop. */
const RESTART_PAUSE_MS = 1_000;

/** Longer than the services' own deadline for a graceful stop. */
const STOP_TIMEOUT_MS = 60_000;

const [mode] = process.argv.slice(2);
if (mode === 'down') await down();
else if (mode === 'own') await own();
else await up();

async function up(): Promise<void> {
  if (runningOwner()) {
    process.stdout.write(`already running:\n${readFileSync(summaryFile, 'utf8')}`);
    return;
  }
  process.stdout.write('starting the stack and the fleet ..\n');
  mkdirSync(dir, { recursive: true });
  const log = openSync(logFile, 'w');
  const owner = spawn(process.execPath, [fileURLToPath(import.meta.url), 'own'], { cwd: repositoryRoot, detached: true, stdio: ['ignore', log, log, 'ipc'] });
  closeSync(log);
  const ready = await new Promise<boolean>((resolve) => {
    owner.once('message', () => resolve(true));
    owner.once('exit', () => resolve(false));
  });
  if (!ready) {
    process.stderr.write(`it did not start:\n${readFileSync(logFile, 'utf8').slice(-4000)}`);
    process.exitCode = 1;
    return;
  }
  owner.disconnect();
  owner.unref();
  process.stdout.write(`running:\n${readFileSync(summaryFile, 'utf8')}  to stop:    make down\n`);
}

async function down(): Promise<void> {
  const owner = runningOwner();
  if (!owner) {
    process.stdout.write('nothing is running\n');
    return;
  }
  process.kill(owner.pid, 'SIGTERM');
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  while (isAlive(owner)) {
    // Its children end with it, see packages/testing/src/reaper.ts.
    if (performance.now() > deadline) process.kill(owner.pid, 'SIGKILL');
    await delay(50);
  }
  rmSync(pidFile, { force: true });
  rmSync(envFile, { force: true });
  process.stdout.write('stopped\n');
}

/** The process in the background. */
async function own(): Promise<void> {
  writePidFile(pidFile, process.pid);
  let stopping = false;
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  try {
    const local = await startLocalFleet({ dir, keepData: true }, { logDir: join(dir, 'services') });
    writeFileSync(summaryFile, `${local.summary.join('\n')}\n`);
    process.send?.('ready');
    for (const one of local.fleet.processes) void keepRunning(one, () => stopping);
    await stopped;
    stopping = true;
    await local.stop();
  } finally {
    rmSync(pidFile, { force: true });
    rmSync(envFile, { force: true });
  }
}

async function keepRunning(one: FleetProcess, isStopping: () => boolean): Promise<void> {
  for (;;) {
    const { code, signal } = await one.exited;
    if (isStopping()) return;
    process.stdout.write(`${new Date().toISOString()} ${one.name} ended with ${signal ?? `code ${code}`}; starting it again\n`);
    await delay(RESTART_PAUSE_MS);
    if (isStopping()) return;
    await one.restart().catch((error: unknown) => process.stdout.write(`${String(error)}\n`));
  }
}

function runningOwner(): ProcessIdentity | undefined {
  const owner = readPidFile(pidFile);
  return owner && isAlive(owner) ? owner : undefined;
}
