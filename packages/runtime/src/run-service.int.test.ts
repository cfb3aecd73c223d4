import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';

const fixture = fileURLToPath(new URL('./fixtures/service.ts', import.meta.url));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Runs the fixture service in a mode of its own; see fixtures/service.ts. */
function service(mode: string, env: Record<string, string> = {}) {
  const variables = { MODE: mode, SHUTDOWN_TIMEOUT_MS: '5000', ...env };
  const child = spawn(process.execPath, [fixture, JSON.stringify(variables)], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let output = '';
  const waiting = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      output += data.toString();
      for (const look of waiting) look();
    });
  }
  return {
    child,
    /** Waits until a line with this text was printed. */
    said: (text: string) =>
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (!output.includes(text)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        child.once('close', () => {
          if (!output.includes(text)) reject(new Error(`ended without "${text}": ${output}`));
        });
        look();
      }),
    async exit() {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
      return { code: child.exitCode, signal: child.signalCode, output };
    },
  };
}

test.each(['SIGTERM', 'SIGINT'] as const)('%s closes what was opened, last first, and exits with 0', async (signal) => {
  const { child, said, exit } = service('plain');
  await said('"started"');
  child.kill(signal);
  const { code, output } = await exit();
  expect(code).toBe(0);
  expect(output.indexOf('closed second')).toBeGreaterThan(0);
  expect(output.indexOf('closed first')).toBeGreaterThan(output.indexOf('closed second'));
});

test('When nobody reads its log any more it closes what was opened and exits with 1, instead of failing at every line for ever', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'unread-'));
  const { child, said } = service('talking', { LOG_DIR: dir });
  await said('"started"');
  const exited = once(child, 'exit');
  child.stdout.destroy();
  child.stderr.destroy();
  expect(await exited).toEqual([1, null]);
  expect(await readFile(join(dir, 'combined.log'), 'utf8')).toContain('the standard output is closed');
  await rm(dir, { recursive: true });
});

test('A second signal changes nothing (A-10)', async () => {
  const { child, said, exit } = service('slow-close');
  await said('"started"');
  child.kill('SIGTERM');
  await said('closing slowly');
  child.kill('SIGTERM');
  child.kill('SIGINT');
  const { code, output } = await exit();
  expect(code).toBe(0);
  expect(output.split('"stopping"')).toHaveLength(2);
  expect(output).toContain('closed slowly');
});

test('A signal during the start waits for what is being opened, and closes it (A-10)', async () => {
  const { child, said, exit } = service('slow-start');
  await said('opening slowly');
  child.kill('SIGTERM');
  const { code, output } = await exit();
  expect(code).toBe(0);
  expect(output).toContain('closed late');
});

test('A close that hangs ends at the deadline, with 1 (A-11)', async () => {
  const { child, said, exit } = service('hanging-close', { SHUTDOWN_TIMEOUT_MS: '300' });
  await said('"started"');
  const startedAt = Date.now();
  child.kill('SIGTERM');
  const { code, output } = await exit();
  expect(code).toBe(1);
  expect(Date.now() - startedAt).toBeLessThan(3_000);
  expect(output).toContain('stop deadline passed');
});

test('A close that fails does not keep the others from closing', async () => {
  const { child, said, exit } = service('failing-close');
  await said('"started"');
  child.kill('SIGTERM');
  const { code, output } = await exit();
  expect(code).toBe(0);
  expect(output).toContain('closing failed');
  expect(output).toContain('closed first');
});

test('A configuration that cannot be used ends with 78 and every problem, without the values', async () => {
  const { exit } = service('plain', { PORT: 'canary-1', LOG_LEVEL: 'canary-2', NEEDED_MS: 'canary-3', SHUTDOWN_TIMEOUT_MS: '-1' });
  const { code, output } = await exit();
  expect(code).toBe(78);
  const line = JSON.parse(output.trim()) as { problems: { variable: string }[] };
  expect(line.problems.map(({ variable }) => variable).toSorted()).toEqual(['LOG_LEVEL', 'NEEDED_MS', 'PORT', 'SHUTDOWN_TIMEOUT_MS']);
  expect(output).not.toContain('canary');
});

test.each([
  ['rejected', 'unhandled rejection'],
  ['thrown', 'uncaught exception'],
  ['fail', 'the lock is lost'],
  ['failing-start', 'start failed'],
])('%s: everything is closed, and the exit is 1', async (mode, reason) => {
  const { exit } = service(mode);
  const { code, output } = await exit();
  expect(code).toBe(1);
  expect(output).toContain(reason);
  expect(output).toContain('closed first');
});

test('The last words are in the log files too', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'service-logs-'));
  const { exit } = service('failing-start', { LOG_DIR: dir });
  expect((await exit()).code).toBe(1);
  expect(await readFile(join(dir, 'error.log'), 'utf8')).toContain('start failed');
  expect(await readFile(join(dir, 'combined.log'), 'utf8')).toContain('"stopped"');
  await rm(dir, { recursive: true });
});

test('A failpoint kills where it is named, and is refused in production', async () => {
  const killed = await service('failpoint', { FAILPOINT: 'test.gap:1' }).exit();
  expect(killed.signal).toBe('SIGKILL');
  expect(killed.output.split('passed the gap')).toHaveLength(2);
  expect((await service('failpoint', { FAILPOINT: 'test.gap', NODE_ENV: 'production' }).exit()).code).toBe(78);
});
