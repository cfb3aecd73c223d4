/**
 * `make dev`: stack and fleet in the foreground, with their logs. A change below `services/<name>` restarts that
 * service, one below `packages/` all of them. Ctrl-C ends everything; data stays in `.backhaul/dev`.
 *
 *   node tools/dev.ts [services]
 */
import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { join, sep } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type FleetProcess, repositoryRoot } from '@backhaul/testing';
import { localServices, startLocalFleet } from './local-fleet.ts';

/** Editors write a file in several steps. */
const SETTLE_MS = 150;

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !localServices().includes(name));
if (unknown.length > 0) {
  process.stderr.write(`no such service: ${unknown.join(', ')}; there are ${localServices().join(', ')}\n`);
  process.exitCode = 2;
} else {
  await main(chosen.length > 0 ? chosen : localServices());
}

async function main(services: string[]): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  process.stdout.write('starting the stack and the fleet ..\n');
  const dir = join(repositoryRoot, '.backhaul', 'dev');
  const local = await startLocalFleet({ dir, keepData: true }, { services, logDir: join(dir, 'services') });
  const { processes } = local.fleet;
  const tail = spawn('tail', ['-q', '-n', '0', '-F', ...processes.map((one) => one.logFile)], { stdio: ['ignore', 'inherit', 'ignore'] });
  process.stdout.write(`${local.summary.join('\n')}\n  Ctrl-C stops everything\n`);

  const changed = new Set<string>();
  let working: Promise<void> | undefined;
  const watchers = ['packages', 'services'].map((folder) =>
    watch(join(repositoryRoot, folder), { recursive: true }, (_event, path) => {
      if (path === null || path.includes('node_modules') || path.endsWith('.test.ts') || !/\.(ts|sql|json)$/.test(path)) return;
      changed.add(folder === 'services' ? (path.split(sep)[0] ?? '*') : '*');
      working ??= restartChanged().finally(() => (working = undefined));
    }),
  );

  async function restartChanged(): Promise<void> {
    while (changed.size > 0) {
      await delay(SETTLE_MS);
      const names = new Set(changed);
      changed.clear();
      await Promise.all(processes.filter((one) => names.has('*') || names.has(one.service)).map(restart));
    }
  }

  await stopped;
  for (const watcher of watchers) watcher.close();
  process.stdout.write('\nstopping ..\n');
  await working;
  await local.stop();
  tail.kill();
}

async function restart(one: FleetProcess): Promise<void> {
  process.stdout.write(`${one.name}: changed, starting it again\n`);
  await one.kill('SIGTERM');
  // A mistake in the sources is shown, and the next change tries again.
  await one.restart().catch((error: unknown) => process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`));
}
