import { consumeBatches, createConnection, deadQueue, declareTopology, workQueue } from '@backhaul/broker';
import { createDatabase, createDeadLetters, createJobs, migrate } from '@backhaul/database';
import { createDecoder, events } from '@backhaul/events';
import { catalog, queues } from '@backhaul/jobs';
import { assertSafe, createInspector, createProducer, redisOptions } from '@backhaul/queue';
import { runService } from '@backhaul/runtime';
import { bridgeCounter, createBridge } from './bridge.ts';
import { bridgeConfig } from './config.ts';
import { createDeadQueueHandler } from './dead-queue.ts';
import { createGate, createPressure } from './gate.ts';
import { keepHeapSmall } from './heap.ts';
import { startReconciler } from './reconcile.ts';

keepHeapSmall();
await runService('bridge', { env: process.env, config: bridgeConfig }, async ({ config, log, metrics, http, onStop }) => {
  const database = onStop(
    createDatabase({
      url: config.DATABASE_URL,
      poolSize: config.DATABASE_POOL_SIZE,
      statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
      applicationName: 'backhaul-bridge',
      log,
    }),
  );
  await migrate(database);
  const producer = onStop(await createProducer({ redis: redisOptions(config), prefix: config.QUEUE_PREFIX, log }));
  await assertSafe(producer.redis, log);
  const connection = onStop(await createConnection({ url: config.RABBITMQ_URL, name: 'backhaul-bridge', log }));

  const jobs = createJobs(database);
  const deadLetters = createDeadLetters(database);
  const decode = createDecoder({ events, maxBodyBytes: config.BRIDGE_MAX_BODY_BYTES });
  const count = bridgeCounter(metrics, new Set(events.map((event) => event.routingKey)));
  const envelopeOf = (name: string) => Math.min(config.BRIDGE_ENVELOPE_SIZE, catalog.byName.get(name)?.envelope ?? 1);
  const topology = {
    exchange: config.RABBITMQ_EXCHANGE,
    queuePrefix: config.RABBITMQ_QUEUE_PREFIX,
    queues: queues.map(({ name }) => name),
    deliveryLimit: config.RABBITMQ_DELIVERY_LIMIT,
  };
  const shared = {
    connection,
    declare: (channel: Parameters<typeof declareTopology>[0]) => declareTopology(channel, topology),
    batchSize: config.BRIDGE_BATCH_SIZE,
    batchesInFlight: config.BRIDGE_BATCHES_IN_FLIGHT,
    lingerMs: config.BRIDGE_LINGER_MS,
    gate: createGate(database, producer, log),
    log,
  };

  const consumers = queues.map(({ name }) => ({
    queue: name,
    consumer: onStop(
      consumeBatches({
        ...shared,
        queue: workQueue(topology, name),
        handle: createBridge({ queue: name, decode, jobOf: (key) => catalog.byRoutingKey.get(key), jobs, deadLetters, producer, envelopeOf, count, log }),
        pressure: createPressure(producer, name, config.BRIDGE_HIGH_WATER),
      }),
    ),
  }));
  onStop(consumeBatches({ ...shared, queue: deadQueue(topology), batchSize: 50, handle: createDeadQueueHandler({ decode, deadLetters, log }) }));

  const readded = metrics.counter('bridge_reconciled_total', 'Recorded jobs that were missing from Redis and were added again', ['queue']);
  onStop(
    startReconciler({
      jobs,
      producer,
      envelopeOf,
      markerKey: `${config.QUEUE_PREFIX}:backhaul:marker`,
      intervalMs: config.BRIDGE_RECONCILE_INTERVAL_MS,
      idleMs: config.BRIDGE_RECONCILE_IDLE_MS,
      onAdded: (queue, added) => readded.inc({ queue }, added),
      log,
    }),
  );

  metrics.gauge('bridge_unacked', 'Messages taken from RabbitMQ and not acked yet', ['queue'], (gauge) => {
    for (const { queue, consumer } of consumers) gauge.set({ queue }, consumer.unacked);
  });
  const inspector = onStop(createInspector({ redis: producer.redis, prefix: config.QUEUE_PREFIX, queues: queues.map(({ name }) => name), log }));
  http.queues(async () =>
    (await inspector.all()).map((figures) => ({ ...figures, bridge: consumers.find(({ queue }) => queue === figures.queue)?.consumer.state })),
  );
  http.addCheck('postgres', () => database.ping());
  http.addCheck('redis', () => producer.ping());
  http.addCheck('rabbitmq', () => {
    if (!connection.connected) return Promise.reject(new Error('not connected'));
    const idle = consumers.filter(({ consumer }) => consumer.state === 'disconnected' || consumer.state === 'starting');
    return idle.length === 0 ? Promise.resolve() : Promise.reject(new Error(`not consuming ${idle.map(({ queue }) => queue).join(', ')}`));
  });
});
