import { randomUUID } from 'node:crypto';
import { consumeBatches, createConnection, createPublisher, declareTopology, workQueue } from '@backhaul/broker';
import { textColumn } from '@backhaul/database';
import { notificationPush } from '@backhaul/events';
import { queues } from '@backhaul/jobs';
import { silentLogger } from '@backhaul/runtime';
import type { Stores } from './node-peers.ts';
import { payload } from './payload.ts';
import { race } from './race.ts';

const BATCH = 500;

/**
 * Messages per second of the least that could keep a promise about each: this
 * process alone takes them from RabbitMQ in batches, parses them, and writes
 * for each one narrow row, which it updates before and after doing nothing. No
 * validation, no queue, no policy, no effects, nothing that explains itself.
 * Nobody's product: it says how much of what ours takes is ours.
 */
export async function runFloor({ env, database }: Pick<Stores, 'env' | 'database'>, count: number): Promise<number> {
  await database.query('CREATE SCHEMA IF NOT EXISTS floor');
  await database.query('DROP TABLE IF EXISTS floor.ledger');
  await database.query(
    `CREATE TABLE floor.ledger (message_id text PRIMARY KEY, state text NOT NULL DEFAULT 'recorded', payload json NOT NULL, changed_at timestamptz NOT NULL DEFAULT now())
     WITH (fillfactor = 45)`,
  );
  const connection = await createConnection({ url: env['RABBITMQ_URL'] ?? '', name: 'bench', log: silentLogger });
  const exchange = env['RABBITMQ_EXCHANGE'] ?? '';
  const topology = { exchange, queuePrefix: env['RABBITMQ_QUEUE_PREFIX'] ?? '', queues: queues.map(({ name }) => name), deliveryLimit: 50 };
  await declareTopology(await connection.openChannel(), topology);
  const publisher = createPublisher({ connection, exchange, log: silentLogger, timeoutMs: 60_000 });
  for (let sent = 0; sent < count; sent += 1_000) {
    const messages = Array.from({ length: Math.min(1_000, count - sent) }, () => ({ ...payload, userId: randomUUID() }));
    await Promise.all(
      messages.map((message) =>
        publisher.publish({ routingKey: notificationPush.routingKey, messageId: randomUUID(), body: Buffer.from(JSON.stringify(message)) }),
      ),
    );
  }
  await database.query('CHECKPOINT');
  let done = 0;
  const move = (ids: Buffer, from: string, to: string) =>
    database.query(
      `UPDATE floor.ledger SET state = $3, changed_at = now() FROM unnest($1::text[]) AS moved(id) WHERE message_id = moved.id AND state = $2`,
      [ids, from, to],
      'prepared',
    );
  const consumer = consumeBatches({
    ...{ connection, queue: workQueue(topology, 'notification'), declare: (channel) => declareTopology(channel, topology) },
    ...{ batchSize: BATCH, lingerMs: 5, batchesInFlight: 4, gate: () => Promise.resolve(), log: silentLogger },
    async handle(batch) {
      const ids = textColumn(batch.map(({ messageId }) => messageId ?? ''));
      const bodies = textColumn(batch.map(({ body }) => JSON.stringify(JSON.parse(body.toString()))));
      await database.query(
        'INSERT INTO floor.ledger (message_id, payload) SELECT id, body::json FROM unnest($1::text[], $2::text[]) AS messages(id, body) ON CONFLICT DO NOTHING',
        [ids, bodies],
        'prepared',
      );
      await move(ids, 'recorded', 'claimed');
      await move(ids, 'claimed', 'done');
      done += batch.length;
      return 'ack';
    },
  });
  try {
    return await race(count, {
      done: () => done,
      drained: async () => (await database.query(`SELECT 1 FROM floor.ledger WHERE state <> 'done' LIMIT 1`)).rows.length === 0,
      runUp: 0.25,
    });
  } finally {
    await consumer.close();
    await publisher.close();
    await connection.close();
  }
}
