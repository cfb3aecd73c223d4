import { randomUUID } from 'node:crypto';
import { createConnection, createPublisher } from '@backhaul/broker';
import { type Database, type JobRow, createChatTables, createDatabase, createDeadLetters, createEffects, createJobs, migrate } from '@backhaul/database';
import { createObjectStore, objectStoreEnv, objectStoreOptions } from '@backhaul/object-store';
import { createProducer, redisEnv, redisOptions } from '@backhaul/queue';
import { loadConfig, silentLogger } from '@backhaul/runtime';
import { type FakesClient, type Fleet, type FleetOptions, eventually, startFleet } from '@backhaul/testing';
import { z } from 'zod';

/** Statuses of a job that will not change any more. */
const ENDED = new Set(['done', 'skipped', 'cancelled', 'dead']);

/** What a flow test needs: a chat backend's view of the servers, under names of its own. */
export type World = Awaited<ReturnType<typeof createWorld>>;

/**
 * Makes a database, an exchange, a bucket prefix and a key prefix of its own
 * on a stack, so that flow tests do not see each other.
 *
 * @param base the variables of a stack
 * @param fakes the stack's fakes
 */
export async function createWorld(base: Readonly<Record<string, string>>, fakes: FakesClient) {
  const id = randomUUID().slice(0, 8);
  const databaseUrl = new URL(base['DATABASE_URL'] ?? '');
  const admin = openDatabase(databaseUrl.toString());
  await admin.query(`CREATE DATABASE flow_${id}`);
  databaseUrl.pathname = `/flow_${id}`;
  const env: Record<string, string> = {
    ...base,
    DATABASE_URL: databaseUrl.toString(),
    RABBITMQ_EXCHANGE: `flow_${id}`,
    RABBITMQ_QUEUE_PREFIX: `flow_${id}`,
    QUEUE_PREFIX: `flow_${id}`,
    NODE_ENV: 'test',
    // A dead worker's job is taken over within seconds instead of a minute.
    WORKER_LOCK_DURATION_MS: '4000',
    WORKER_STALLED_INTERVAL_MS: '1000',
    BRIDGE_RECONCILE_INTERVAL_MS: '2000',
    BRIDGE_RECONCILE_IDLE_MS: '2000',
    // Schedules are the scheduler's own tests' subject; here they would only add jobs.
    SCHEDULER_CATCH_UP_MS: '0',
  };
  const database: Database = openDatabase(databaseUrl.toString());
  await migrate(database);
  await createChatTables(database);
  const connection = await createConnection({ url: env['RABBITMQ_URL'] ?? '', name: `flow-${id}`, log: silentLogger });
  const publisher = createPublisher({ connection, exchange: env['RABBITMQ_EXCHANGE'] ?? '', log: silentLogger, timeoutMs: 15_000 });
  const store = createObjectStore(objectStoreOptions(loadConfig(z.object(objectStoreEnv), env)));
  const jobs = createJobs(database);
  const fleets: Fleet[] = [];

  return {
    id,
    env,
    database,
    jobs,
    effectsLedger: createEffects(database),
    deadLetters: createDeadLetters(database),
    fakes,
    store,
    /** Starts services in this world; they are stopped with it. */
    async fleet(options: Omit<FleetOptions, 'env'> & { env?: Record<string, string> }): Promise<Fleet> {
      const fleet = await startFleet({ ...options, env: { ...env, ...options.env } });
      fleets.push(fleet);
      return fleet;
    },
    /** Publishes as a chat backend would: any AMQP client, a confirm, a message id. */
    async publish(routingKey: string, body: unknown, messageId: string = randomUUID()): Promise<string> {
      const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
      await publisher.publish({ routingKey, messageId, body: bytes });
      return messageId;
    },
    /** A message of the chat, as the chat app writes it. */
    async message(fields: { id?: string; deletedAt?: Date; mediaUrl?: string; createdAt?: Date } = {}): Promise<string> {
      const messageId = fields.id ?? randomUUID();
      await database.query(
        `INSERT INTO messages (id, sender_id, chat_id, content, media_url, created_at, updated_at, deleted_at) VALUES ($1, $2, $3, 'hello', $4, coalesce($5, now()), now(), $6)`,
        [messageId, randomUUID(), randomUUID(), fields.mediaUrl ?? null, fields.createdAt ?? null, fields.deletedAt ?? null],
      );
      return messageId;
    },
    /** The job's row once it ended for good. */
    ended(messageId: string, timeoutMs = 60_000): Promise<JobRow> {
      return eventually(
        async () => {
          const row = await jobs.find(messageId);
          if (row === undefined) throw new Error(`no job is recorded for ${messageId}`);
          if (!ENDED.has(row.status)) throw new Error(`${row.name} is ${row.status}: ${JSON.stringify(row.history)}`);
          return row;
        },
        { timeoutMs, intervalMs: 50 },
      );
    },
    /** Waits until at least `count` jobs are recorded. */
    allRecorded(count: number, timeoutMs = 30_000): Promise<void> {
      return eventually(
        async () => {
          const { rows } = await database.query<{ count: number }>('SELECT count(*)::int AS count FROM backhaul.jobs');
          const recorded = rows[0]?.count ?? 0;
          if (recorded < count) throw new Error(`${recorded} of ${count} recorded`);
        },
        { timeoutMs, intervalMs: 10 },
      );
    },
    /** Waits until no job is open and `count` are recorded. */
    async allEnded(count: number, timeoutMs = 120_000): Promise<{ status: string; count: number }[]> {
      return eventually(
        async () => {
          const { rows } = await database.query<{ status: string; count: number }>(
            'SELECT status, count(*)::int AS count FROM backhaul.jobs GROUP BY status ORDER BY status',
          );
          const recorded = rows.reduce((sum, row) => sum + row.count, 0);
          const open = rows.filter((row) => !ENDED.has(row.status));
          if (recorded < count || open.length > 0) throw new Error(`${recorded} of ${count} recorded: ${JSON.stringify(rows)}`);
          return rows;
        },
        { timeoutMs, intervalMs: 100 },
      );
    },
    /** Deletes a work queue on the broker, with what is in it. */
    async deleteWorkQueue(queue: string): Promise<void> {
      const channel = await connection.openChannel();
      await channel.deleteQueue(`flow_${id}.${queue}`);
      await channel.close();
    },
    /** Looks into the Bull queues. */
    producer: () => createProducer({ redis: redisOptions(loadConfig(z.object(redisEnv), env)), prefix: env['QUEUE_PREFIX'] ?? '', log: silentLogger }),
    async close() {
      await Promise.all(fleets.map((fleet) => fleet.stop()));
      await publisher.close();
      await removeTopology();
      await connection.close();
      await store.close();
      await database.close();
      await admin.query(`DROP DATABASE IF EXISTS flow_${id} WITH (FORCE)`).catch(() => undefined);
      await admin.close();
    },
  };

  async function removeTopology(): Promise<void> {
    if (!connection.connected) return;
    const channel = await connection.openChannel();
    channel.on('error', () => undefined);
    for (const queue of ['media', 'notification', 'cleanup', 'dead']) await channel.deleteQueue(`flow_${id}.${queue}`);
    await channel.deleteExchange(`flow_${id}`);
    await channel.close();
  }
}

function openDatabase(url: string): Database {
  return createDatabase({ url, poolSize: 4, statementTimeoutMs: 20_000, applicationName: 'flow-test', log: silentLogger });
}
