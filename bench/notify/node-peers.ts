import type { Database } from '@backhaul/database';
import Bull from 'bull';
import { Queue } from 'bullmq';
import { makeWorkerUtils } from 'graphile-worker';
import type { Producer } from '@backhaul/queue';
import { PgBoss } from 'pg-boss';
import { payload } from './payload.ts';
import { race, startCounting } from './race.ts';

/** Where the peers' stores are. */
export interface Stores {
  readonly env: Record<string, string>;
  readonly database: Database;
  readonly redis: Producer['redis'];
}

/** A peer that runs in Node. */
export interface NodePeer {
  readonly name: string;
  /** Puts `count` jobs into its store, and returns what tells whether any is left. */
  fill(stores: Stores, queue: string, count: number): Promise<() => Promise<boolean>>;
}

const CHUNK = 1_000;
/** A quarter: the processes are started for each backlog, and their code is compiled while they work off its beginning. */
const RUN_UP = 0.25;

async function inChunks(count: number, add: (size: number) => Promise<unknown>): Promise<void> {
  for (let added = 0; added < count; added += CHUNK) await add(Math.min(CHUNK, count - added));
}

const none = async (database: Database, table: string) => (await database.query(`SELECT 1 FROM ${table} LIMIT 1`)).rows.length === 0;

/** The peers of npm, as their `peer-worker.ts` runs them. */
export const nodePeers: readonly NodePeer[] = [
  {
    name: 'graphile_worker',
    async fill({ env, database }, queue, count) {
      const utils = await makeWorkerUtils({ connectionString: env['DATABASE_URL'] ?? '' });
      await utils.migrate();
      await inChunks(count, (size) => utils.addJobs(Array.from({ length: size }, () => ({ identifier: queue, payload }))));
      await utils.release();
      await database.query('ANALYZE graphile_worker._private_jobs');
      return () => none(database, 'graphile_worker._private_jobs');
    },
  },
  {
    name: 'bullmq',
    async fill({ redis }, name, count) {
      const queue = new Queue(name, { connection: redis });
      await inChunks(count, (size) => queue.addBulk(Array.from({ length: size }, () => ({ name, data: payload, opts: { removeOnComplete: true } }))));
      return async () => (await queue.getJobCountByTypes('waiting', 'active')) === 0;
    },
  },
  {
    name: 'bull',
    async fill({ env }, name, count) {
      const url = new URL(env['REDIS_URL'] ?? '');
      const queue = new Bull(name, { redis: { host: url.hostname, port: Number(url.port) } });
      await inChunks(count, (size) => queue.addBulk(Array.from({ length: size }, () => ({ data: payload, opts: { removeOnComplete: true } }))));
      return async () => {
        const { waiting, active } = await queue.getJobCounts();
        if (waiting + active > 0) return false;
        await queue.close();
        return true;
      };
    },
  },
  {
    name: 'pg_boss',
    async fill({ env, database }, name, count) {
      const boss = new PgBoss({ connectionString: env['DATABASE_URL'] ?? '', supervise: false, schedule: false });
      await boss.start();
      await boss.createQueue(name);
      await inChunks(count, (size) =>
        boss.insert(
          name,
          Array.from({ length: size }, () => ({ data: payload })),
        ),
      );
      await boss.stop({ graceful: false });
      await database.query('ANALYZE pgboss.job');
      return async () => (await database.query(`SELECT 1 FROM pgboss.job WHERE name = $1 AND state < 'completed' LIMIT 1`, [name])).rows.length === 0;
    },
  },
];

/** Jobs per second of one peer over a fresh backlog. */
export async function runNodePeer(peer: NodePeer, stores: Stores, count: number, processes: number): Promise<number> {
  const queue = `${peer.name}-${Date.now()}`;
  const drained = await peer.fill(stores, queue, count);
  const workers = startCounting('peer-worker.ts', processes, [peer.name, queue], stores.env);
  try {
    return await race(count, { done: workers.done, drained, runUp: RUN_UP });
  } finally {
    await workers.stop();
  }
}
