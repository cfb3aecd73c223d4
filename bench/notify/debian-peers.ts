import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createConnection } from '@backhaul/broker';
import { silentLogger } from '@backhaul/runtime';
import type { Stores } from './node-peers.ts';
import { payload } from './payload.ts';
import { kill, race } from './race.ts';

/** A peer from Debian's packages. */
export interface DebianPeer {
  readonly name: string;
  /** Why it cannot run here, if it cannot. */
  missing(): string | undefined;
  /** Jobs per second over a fresh backlog. */
  run(stores: Stores, count: number): Promise<number>;
}

const PYTHON = '/usr/bin/python3';
const here = fileURLToPath(new URL('.', import.meta.url));
const runs = (command: string, args: readonly string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const RUN_UP = 0.25;

/** Celery over RabbitMQ and Sidekiq, one worker per core as both recommend. */
export const debianPeers: readonly DebianPeer[] = [
  {
    name: 'celery_rabbitmq',
    missing: () => (runs(PYTHON, ['-c', 'import celery']) ? undefined : 'Celery is not installed: apt-get install python3-celery'),
    async run({ env }, count) {
      const broker = env['RABBITMQ_URL'] ?? '';
      const settings = { PATH: process.env['PATH'], BROKER_URL: broker, PYTHONDONTWRITEBYTECODE: '1' };
      const connection = await createConnection({ url: broker, name: 'bench', log: silentLogger });
      const channel = await connection.openChannel();
      await channel.assertQueue('celery_bench', { durable: true });
      await channel.purgeQueue('celery_bench');
      await promisify(execFile)(PYTHON, ['celery_tasks.py', 'fill', String(count), JSON.stringify(payload)], { cwd: here, env: settings });
      const args = ['-m', 'celery', '-A', 'celery_tasks', 'worker', '-P', 'prefork', '-c', String(availableParallelism()), '-Q', 'celery_bench'];
      const worker = spawn(PYTHON, [...args, '--without-gossip', '--without-mingle', '--without-heartbeat', '-l', 'ERROR'], {
        cwd: here,
        env: settings,
        stdio: 'ignore',
        detached: true,
      });
      try {
        // Prefetched ones, at most 256, count as done: for them the queue's length tells too much, the whole too little.
        const left = async () => (await channel.checkQueue('celery_bench')).messageCount;
        return await race(count, { done: async () => count - (await left()), drained: () => Promise.resolve(true), runUp: RUN_UP });
      } finally {
        killGroup(worker);
        await connection.close();
      }
    },
  },
  {
    name: 'sidekiq',
    missing: () => (runs('sidekiq', ['--version']) ? undefined : 'Sidekiq is not installed: apt-get install ruby-sidekiq'),
    async run({ env, redis }, count) {
      const settings = { PATH: process.env['PATH'], REDIS_URL: env['REDIS_URL'] ?? '', MALLOC_ARENA_MAX: '2' };
      await redis.del('queue:sidekiq_bench');
      await promisify(execFile)('ruby', ['sidekiq_worker.rb', 'fill', String(count), JSON.stringify(payload)], { cwd: here, env: settings });
      const workers = Array.from({ length: availableParallelism() }, () =>
        spawn('sidekiq', ['-r', './sidekiq_worker.rb', '-q', 'sidekiq_bench', '-c', '10'], { cwd: here, env: settings, stdio: 'ignore' }),
      );
      try {
        const left = () => redis.llen('queue:sidekiq_bench');
        return await race(count, { done: async () => count - (await left()), drained: () => Promise.resolve(true), runUp: RUN_UP });
      } finally {
        await Promise.all(workers.map(kill));
      }
    },
  },
];

function killGroup(leader: ChildProcess): void {
  if (leader.pid !== undefined) process.kill(-leader.pid, 'SIGKILL');
}
