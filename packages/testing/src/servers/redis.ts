import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { controlServer } from '../server-process.ts';
import type { ServerControl } from '../server-process.ts';
import { findBinary } from './find-binary.ts';
import { handshake } from './handshake.ts';

/** Redis as BullMQ wants it: append-only file written every second, and no eviction. */
export function redisServer({ dir, port }: { dir: string; port: number }): ServerControl {
  const data = join(dir, 'redis');
  return controlServer({
    name: 'redis',
    url: `redis://127.0.0.1:${port}`,
    port,
    dir,
    async command() {
      await mkdir(data, { recursive: true });
      const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', data, '--save', '', '--appendonly', 'yes'];
      args.push('--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction', '--daemonize', 'no');
      return { file: findBinary('redis-server', { install: 'apt-get install redis-server' }), args };
    },
    // While it reads the append-only file it answers -LOADING.
    answers: () => handshake(port, 'PING\r\n', (answer) => (answer.includes('\n') ? answer.includes('+PONG') : undefined)),
    startTimeoutMs: 30_000,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 10_000,
    wipe: () => rm(data, { recursive: true, force: true }),
  });
}
