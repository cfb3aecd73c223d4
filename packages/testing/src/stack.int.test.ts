import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseEnv } from 'node:util';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually } from './eventually.ts';
import { descendantsOf, identify } from './process-identity.ts';
import { elsewhere } from './servers/elsewhere.ts';
import { startStack } from './stack.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "backhaul it's a stack "));
  // The user postgres must be able to enter it.
  execFileSync('chmod', ['755', dir]);
});

afterEach(() => {
  for (const folder of [dir, elsewhere(dir, 'rabbitmq')]) rmSync(folder, { recursive: true, force: true });
});

/** One command on a new connection, as redis-cli would send it; the first line of the answer. */
async function redis(url: string, command: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(`${command}\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString().trim();
}

test('all servers start, in a folder with spaces and quotes, and nothing is left when they stop', async () => {
  const stack = await startStack({ dir });
  const pids = stack.servers.map(({ pid = 0 }) => pid).flatMap((pid) => [pid, ...descendantsOf(pid)]);
  expect(stack.servers.map(({ name }) => name).toSorted()).toEqual(['epmd', 'fakes', 'postgres', 'rabbitmq', 'redis']);
  expect(await stack.rabbitmq.ctl(['eval', 'node().'])).toBe('backhaul@localhost\n');
  const file = join(dir, 'nested', 'env');
  await stack.writeEnvFile(file);
  const sourced = execFileSync('sh', ['-c', '. "$0"; printf %s "$FCM_CA_FILE"', file], { encoding: 'utf8' });
  expect(sourced).toBe(stack.env['FCM_CA_FILE']);
  const parsed = parseEnv(await readFile(file, 'utf8'));
  expect(parsed['FIREBASE_PRIVATE_KEY']?.replaceAll('\\n', '\n')).toBe(stack.env['FIREBASE_PRIVATE_KEY']);
  await stack.stop();
  await eventually(() => expect(pids.filter((pid) => identify(pid))).toEqual([]));
});

test('a killed Redis comes back on its port with its data, or empty when it was wiped', async () => {
  await using stack = await startStack({ dir, only: ['redis'] });
  const { url } = stack.redis;
  expect(await redis(url, 'CONFIG GET maxmemory-policy')).toContain('noeviction');
  await redis(url, 'SET kept yes');
  await redis(url, 'WAITAOF 1 0 0');
  // The append-only file is written once a second; stop writes the rest.
  await stack.redis.stop();
  await stack.redis.start();
  expect(await redis(url, 'GET kept')).toBe('$3\r\nyes');
  await stack.redis.kill();
  await stack.redis.wipe();
  await stack.redis.start();
  expect(await redis(url, 'GET kept')).toBe('$-1');
});

test('a killed Postgres can be started again at once', async () => {
  await using stack = await startStack({ dir, only: ['postgres'] });
  for (let round = 0; round < 3; round++) {
    const before = stack.postgres.pid;
    await stack.postgres.kill();
    await stack.postgres.start();
    expect(stack.postgres.pid).not.toBe(before);
  }
});

test('servers whose URL is given are not started', async () => {
  await using stack = await startStack({ dir, only: ['redis', 'postgres'], env: { REDIS_URL: 'redis://elsewhere:1', DATABASE_URL: 'postgres://elsewhere/x' } });
  expect([stack.servers, stack.env['REDIS_URL'], stack.redis.external]).toEqual([[], 'redis://elsewhere:1', true]);
  await expect(stack.redis.kill()).rejects.toThrow(/not ours/);
});

test('a folder that is in use is refused, and the message names the process', async () => {
  await using stack = await startStack({ dir, only: ['redis'] });
  await expect(startStack({ dir, only: ['redis'] })).rejects.toThrow(`in use by process ${process.pid}`);
  expect(await redis(stack.redis.url, 'PING')).toBe('+PONG');
});

test('when the preparation fails, the servers are stopped again', async () => {
  let url = '';
  const failing = startStack({
    dir,
    only: ['redis'],
    onReady(stack) {
      ({ url } = stack.redis);
      return Promise.reject(new Error('no schema'));
    },
  });
  await expect(failing).rejects.toThrow('no schema');
  await expect(redis(url, 'PING')).rejects.toThrow('ECONNREFUSED');
});

async function owner(...only: string[]): Promise<{ child: ChildProcess; pids: number[]; redis: string }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('fixtures/stack-owner.ts', import.meta.url)), dir, ...only], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, ...(JSON.parse(line) as { pids: number[]; redis: string }) };
}

test('when its owner is killed, every server and service ends, with all that they started', async () => {
  const { child, pids } = await owner('redis', 'rabbitmq', 'postgres', 'fakes');
  const family = pids.flatMap((pid) => [pid, ...descendantsOf(pid)]);
  expect(family.length).toBeGreaterThan(pids.length);
  expect(family.filter((pid) => !identify(pid))).toEqual([]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await eventually(() => expect(family.filter((pid) => identify(pid))).toEqual([]), { timeoutMs: 15_000 });
});

test('what a killed owner and a killed reaper left behind is swept by the next start', async () => {
  const first = await owner('redis');
  const reaper = descendantsOf(first.child.pid ?? 0).filter((pid) => !first.pids.includes(pid));
  for (const pid of reaper) process.kill(pid, 'SIGKILL');
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  expect(await redis(first.redis, 'PING')).toBe('+PONG');
  await using stack = await startStack({ dir, only: ['fakes'] });
  await eventually(() => expect(redis(first.redis, 'PING')).rejects.toThrow('ECONNREFUSED'));
  expect(existsSync(join(stack.dir, 'redis.pid'))).toBe(false);
  const [, toy = 0] = first.pids;
  if (identify(toy)) process.kill(toy, 'SIGKILL');
});
