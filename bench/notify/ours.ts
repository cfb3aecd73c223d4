import { randomUUID } from 'node:crypto';
import { createConnection, createPublisher, declareTopology } from '@backhaul/broker';
import { createChatTables, migrate } from '@backhaul/database';
import { notificationPush } from '@backhaul/events';
import { queues } from '@backhaul/jobs';
import { silentLogger } from '@backhaul/runtime';
import { eventually, freePort, startFleet } from '@backhaul/testing';
import type { Stores } from './node-peers.ts';
import { payload } from './payload.ts';
import { race, startCounting } from './race.ts';

/** Before anything counts: both processes have compiled their code and filled their pools. */
const WARM_UP = 10_000;

/**
 * Jobs per second of the fleet over a backlog in RabbitMQ: one bridge, one
 * notification worker, each event recorded, claimed, sent, confirmed, shown in
 * `notifications` and closed. The clock runs from the moment the bridge may
 * take the first message. Throws when anything of a single event is missing.
 */
export async function runOurs({ env, database, redis }: Stores, count: number): Promise<number> {
  await migrate(database);
  await createChatTables(database);
  await database.query('TRUNCATE backhaul.jobs, backhaul.effects, backhaul.dead_letters, backhaul.presence, backhaul.policy_users, notifications');
  await redis.flushdb();
  const settings = { ...env, LOG_LEVEL: 'warn', BRIDGE_HIGH_WATER: '1000000' };
  const worker = startCounting('no-op-worker.ts', 1, [], { ...settings, PORT: String(await freePort()) });
  const fleet = await startFleet({ env: settings, services: ['bridge'] });
  const bridge = fleet.get('bridge');
  try {
    await fill({ env, database }, WARM_UP);
    await finished(database, WARM_UP);
    // Stopped, it takes nothing while the backlog grows; what its socket buffers hold is no more than its prefetch.
    process.kill(bridge.pid, 'SIGSTOP');
    await fill({ env, database }, count);
    await database.query('CHECKPOINT');
    const rate = race(count, {
      done: () => worker.done() - WARM_UP,
      drained: async () => (await database.query('SELECT 1 FROM backhaul.jobs WHERE finished_at IS NULL LIMIT 1')).rows.length === 0,
      runUp: 0,
    });
    process.kill(bridge.pid, 'SIGCONT');
    const result = await rate;
    await finished(database, WARM_UP + count);
    return result;
  } finally {
    process.kill(bridge.pid, 'SIGCONT');
    await fleet.stop();
    await worker.stop();
  }
}

/** Waits until every event of `count` has left its three traces, and no more. */
async function finished(database: Stores['database'], count: number): Promise<void> {
  await eventually(
    async () => {
      for (const sql of [
        `SELECT count(*)::int AS count FROM backhaul.jobs WHERE status = 'done'`,
        `SELECT count(*)::int AS count FROM backhaul.effects WHERE state = 'confirmed'`,
        'SELECT count(*)::int AS count FROM notifications WHERE success',
      ]) {
        const [row] = (await database.query<{ count: number }>(sql)).rows;
        if (row?.count !== count) throw new Error(`${sql}: ${row?.count} instead of ${count}`);
      }
    },
    { timeoutMs: 60_000 },
  );
}

/** Every second event is for somebody whom the policy has to look at: the app was open once. */
async function fill({ env, database }: Pick<Stores, 'env' | 'database'>, count: number): Promise<void> {
  const connection = await createConnection({ url: env['RABBITMQ_URL'] ?? '', name: 'bench', log: silentLogger });
  const exchange = env['RABBITMQ_EXCHANGE'] ?? '';
  const topology = { exchange, queuePrefix: env['RABBITMQ_QUEUE_PREFIX'] ?? '', queues: queues.map(({ name }) => name), deliveryLimit: 50 };
  const channel = await connection.openChannel();
  await declareTopology(channel, topology);
  const publisher = createPublisher({ connection, exchange, log: silentLogger, timeoutMs: 60_000 });
  for (let sent = 0; sent < count; sent += 1_000) {
    const userIds = Array.from({ length: Math.min(1_000, count - sent) }, () => randomUUID());
    await database.query(
      `INSERT INTO backhaul.presence (user_id, device_id, active_until) SELECT user_id, 'phone', now() FROM unnest($1::text[]) AS users(user_id)`,
      [userIds.filter((_, index) => index % 2 === 0)],
    );
    await Promise.all(
      userIds.map((userId) =>
        publisher.publish({
          routingKey: notificationPush.routingKey,
          messageId: randomUUID(),
          body: Buffer.from(JSON.stringify({ ...payload, userId })),
        }),
      ),
    );
  }
  await publisher.close();
  await connection.close();
}
