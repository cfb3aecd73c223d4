import { randomUUID } from 'node:crypto';
import { consumeBatches, createConnection, createPublisher, declareTopology, workQueue } from '@backhaul/broker';
import { createDatabase, createDeadLetters, createJobs, migrate } from '@backhaul/database';
import { createDecoder, events, mediaImage } from '@backhaul/events';
import { catalog } from '@backhaul/jobs';
import { createProducer, jobIdOf } from '@backhaul/queue';
import { silentLogger } from '@backhaul/runtime';
import { startFleet, startStack } from '@backhaul/testing';
import { Queue } from 'bullmq';
import { createBridge } from '../services/bridge/src/bridge.ts';
import { createPressure } from '../services/bridge/src/gate.ts';
import { createSamples } from './figure.ts';

/**
 * How fast messages move from RabbitMQ into a Bull queue.
 *
 * | figure | what is measured |
 * |---|---|
 * | bridge.broker | consume and ack alone, in the same batches |
 * | bridge.add_bulk | BullMQ's `addBulk` alone, with the same jobs in the same batches, as many in flight |
 * | bridge.one_by_one | the common design: prefetch 1, add, ack |
 * | bridge.prefetch_100 | the same with prefetch 100 |
 * | bridge.batched | ours without the record in Postgres |
 * | bridge.recorded | ours |
 * | bridge.rss_growth_mb | the bridge's largest RSS over 200,000 messages less that over 10,000 |
 */
const ROUNDS = 5;
const RSS_ROUNDS = 3;
const MESSAGES = 30_000;
const SLOW_MESSAGES = 2_000;
const BATCH_SIZE = 500;
const IN_FLIGHT = 4;

const log = silentLogger;
/** A job as BullMQ takes it; the same that the bridge adds. */
const bullJob = (messageId: string, data: unknown = { messageId }) => ({
  name: 'media.process-image',
  data,
  opts: { jobId: jobIdOf(messageId), priority: 999 },
});

const stack = await startStack({ dir: '.backhaul/bench', durable: true, only: ['redis', 'rabbitmq', 'postgres'] });
const samples = createSamples();
try {
  const connection = await createConnection({ url: stack.env['RABBITMQ_URL'] ?? '', name: 'bench', log });
  const redis = new URL(stack.env['REDIS_URL'] ?? '');
  const producer = await createProducer({ redis: { host: redis.hostname, port: Number(redis.port) }, prefix: 'bench', log, timeoutMs: 60_000 });
  const bull = new Queue('media', { connection: producer.redis, prefix: 'bench', skipVersionCheck: true });
  const database = createDatabase({ url: stack.env['DATABASE_URL'] ?? '', poolSize: 10, statementTimeoutMs: 60_000, applicationName: 'bench', log });
  await migrate(database);
  const topology = { exchange: 'bench', queuePrefix: 'bench', queues: ['media'], deliveryLimit: 50 };
  const declare = (channel: Parameters<typeof declareTopology>[0]) => declareTopology(channel, topology);
  const queue = workQueue(topology, 'media');
  const admin = await connection.openChannel();
  await declare(admin);
  const publisher = createPublisher({ connection, exchange: topology.exchange, log, timeoutMs: 60_000 });
  const decode = createDecoder({ events });
  const jobs = createJobs(database);

  /** Fills the queue and waits until the broker has all of it. */
  async function fill(count: number): Promise<void> {
    await producer.redis.flushdb();
    await database.query('TRUNCATE backhaul.jobs');
    await admin.purgeQueue(queue);
    await publishMany(count);
  }

  async function publishMany(count: number): Promise<void> {
    for (let sent = 0; sent < count; sent += 1_000) {
      await Promise.all(
        Array.from({ length: Math.min(1_000, count - sent) }, () => {
          const messageId = randomUUID();
          return publisher.publish({ routingKey: 'media.image', messageId, body: Buffer.from(JSON.stringify({ ...mediaImage.example, messageId })) });
        }),
      );
    }
  }

  /** Runs a consumer over `count` messages; returns messages per second from the first delivery to the last settled one. */
  async function consumeAll(
    count: number,
    handle: Parameters<typeof consumeBatches>[0]['handle'],
    pressure?: () => Promise<string | undefined>,
  ): Promise<number> {
    let startedAt = 0;
    let settled = 0;
    const { promise, resolve } = Promise.withResolvers<number>();
    const consumer = consumeBatches({
      connection,
      queue,
      declare,
      batchSize: BATCH_SIZE,
      batchesInFlight: IN_FLIGHT,
      lingerMs: 5,
      gate: () => Promise.resolve(),
      ...(pressure === undefined ? {} : { pressure }),
      log,
      async handle(batch) {
        startedAt ||= performance.now();
        const verdict = await handle(batch);
        settled += batch.length;
        if (settled >= count) resolve(performance.now());
        return verdict;
      },
    });
    const finishedAt = await promise;
    await consumer.close();
    return (count / (finishedAt - startedAt)) * 1_000;
  }

  /** The common design: one `add` per message, then its ack. */
  async function consumeSingly(count: number, prefetch: number): Promise<number> {
    const channel = await connection.openChannel();
    await channel.prefetch(prefetch);
    let startedAt = 0;
    let settled = 0;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    await channel.consume(queue, (message) => {
      if (message === null) return;
      startedAt ||= performance.now();
      const event = decode({
        ...message.fields,
        body: message.content,
        messageId: String(message.properties.messageId),
        contentEncoding: undefined,
        headers: {},
      });
      if (!event.ok) return reject(new Error(event.message));
      const { name, data, opts } = bullJob(event.messageId, event.payload);
      bull.add(name, data, opts).then(() => {
        channel.ack(message);
        settled += 1;
        if (settled === count) resolve(performance.now());
      }, reject);
    });
    const finishedAt = await promise;
    await channel.close();
    return (count / (finishedAt - startedAt)) * 1_000;
  }

  /** `addBulk` alone: the same references, the same batches, as many in flight. */
  async function addAll(count: number): Promise<number> {
    await producer.redis.flushdb();
    const batches = Array.from({ length: count / BATCH_SIZE }, () => Array.from({ length: BATCH_SIZE }, () => bullJob(randomUUID())));
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        for (let batch = batches.pop(); batch !== undefined; batch = batches.pop()) await bull.addBulk(batch);
      }),
    );
    return (count / (performance.now() - startedAt)) * 1_000;
  }

  const ours = (record: (typeof jobs)['record']) =>
    createBridge({
      queue: 'media',
      decode,
      jobOf: (key) => catalog.byRoutingKey.get(key),
      jobs: { record },
      deadLetters: createDeadLetters(database),
      producer,
      count: () => undefined,
      log,
    });

  /** The high-water mark costs a question per batch: ours pays it here as well. */
  const belowTheMark = () => createPressure(producer, 'media', Number.MAX_SAFE_INTEGER);

  // Both sides compiled and every pool filled before anything counts.
  await addAll(MESSAGES);
  await fill(MESSAGES);
  await consumeAll(MESSAGES, ours(jobs.record));
  for (let round = 1; round <= ROUNDS; round += 1) {
    process.stderr.write(`round ${round} of ${ROUNDS}\n`);
    await fill(MESSAGES);
    samples.add('bridge.broker', await consumeAll(MESSAGES, () => Promise.resolve('ack')));
    samples.add('bridge.add_bulk', await addAll(MESSAGES));
    await fill(MESSAGES);
    samples.add('bridge.recorded', await consumeAll(MESSAGES, ours(jobs.record), belowTheMark()));
    await fill(MESSAGES);
    const open: (typeof jobs)['record'] = (batch) => Promise.resolve(batch.map(() => ({ state: 'open', carrier: null })));
    samples.add('bridge.batched', await consumeAll(MESSAGES, ours(open), belowTheMark()));
    await fill(SLOW_MESSAGES);
    samples.add('bridge.one_by_one', await consumeSingly(SLOW_MESSAGES, 1));
    await fill(MESSAGES / 3);
    samples.add('bridge.prefetch_100', await consumeSingly(MESSAGES / 3, 100));
  }

  // The real process, with a backlog that waits for it.
  for (let round = 1; round <= RSS_ROUNDS; round += 1) {
    const small = await peakRssMb(10_000);
    const large = await peakRssMb(200_000);
    samples.add('bridge.rss_growth_mb', large - small);
  }

  /** The largest RSS of a bridge that is started on a backlog and works it off. */
  async function peakRssMb(backlog: number): Promise<number> {
    await fill(backlog);
    const fleet = await startFleet({
      env: {
        ...stack.env,
        RABBITMQ_EXCHANGE: topology.exchange,
        RABBITMQ_QUEUE_PREFIX: topology.queuePrefix,
        QUEUE_PREFIX: 'bench',
        BRIDGE_HIGH_WATER: '1000000',
        LOG_LEVEL: 'warn',
      },
      services: ['bridge'],
    });
    try {
      const [bridge] = fleet.processes;
      if (bridge === undefined) throw new Error('the bridge did not start');
      let peakMb = 0;
      for (;;) {
        const answer = (await (await fetch(`${bridge.url}/metrics/system`)).json()) as { memory: { rssBytes: number } };
        peakMb = Math.max(peakMb, answer.memory.rssBytes / 1024 ** 2);
        const { messageCount } = await admin.checkQueue(queue);
        if (messageCount === 0 && (await producer.depth('media')) >= backlog) return peakMb;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    } finally {
      await fleet.stop();
    }
  }

  samples.print('bridge.broker', 'messages/s');
  samples.print('bridge.add_bulk', 'messages/s');
  samples.print('bridge.one_by_one', 'messages/s');
  samples.print('bridge.prefetch_100', 'messages/s');
  samples.print('bridge.batched', 'messages/s', ['bridge.add_bulk']);
  samples.print('bridge.recorded', 'messages/s', ['bridge.add_bulk', 'bridge.one_by_one', 'bridge.prefetch_100']);
  samples.print('bridge.rss_growth_mb', 'MiB');
  await publisher.close();
  await bull.close();
  await producer.close();
  await connection.close();
  await database.close();
} finally {
  await stack.stop();
}
