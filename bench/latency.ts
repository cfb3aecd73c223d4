import { randomUUID } from 'node:crypto';
import { createConnection, createPublisher } from '@backhaul/broker';
import { createDatabase, createJobLedger } from '@backhaul/database';
import { notificationPush } from '@backhaul/events';
import { notification } from '@backhaul/jobs';
import { notificationJobs } from '@backhaul/jobs/notification';
import { done, startWorker } from '@backhaul/queue';
import { silentLogger } from '@backhaul/runtime';
import { startFleet, startStack } from '@backhaul/testing';
import { createSamples } from './figure.ts';
import { idleProcess } from './idle-process.ts';

/**
 * From publish to the start of the processor, at 200 messages a second on an
 * idle fleet: through RabbitMQ, the bridge in its own process, the record in
 * Postgres with fsync, Redis, and the worker's own note that the run began.
 *
 * | figure | what is measured |
 * |---|---|
 * | latency.p50_ms | the median of a round's messages |
 * | latency.p99_ms | their 99th percentile |
 */
const ROUNDS = 3;
const PER_SECOND = 200;
const ROUND_MESSAGES = 3_000;
const WARM_UP_MESSAGES = 600;

const log = silentLogger;
const samples = createSamples();
const stack = await startStack({ dir: '.backhaul/bench-latency', durable: true, only: ['redis', 'rabbitmq', 'postgres'] });
try {
  const env = { ...stack.env, LOG_LEVEL: 'warn' };
  const fleet = await startFleet({ env, services: ['bridge'] });
  const url = new URL(stack.env['REDIS_URL'] ?? '');
  const database = createDatabase({ url: stack.env['DATABASE_URL'] ?? '', poolSize: 10, statementTimeoutMs: 30_000, applicationName: 'bench', log });
  const connection = await createConnection({ url: stack.env['RABBITMQ_URL'] ?? '', name: 'bench', log });
  const publisher = createPublisher({ connection, exchange: stack.env['RABBITMQ_EXCHANGE'] ?? '', log });

  const publishedAt = new Map<string, number>();
  let waits: number[] = [];
  let expected = 0;
  let complete: () => void = () => undefined;
  const handler = (_payload: unknown, { messageId }: { messageId: string }) => {
    const at = publishedAt.get(messageId);
    if (at !== undefined) waits.push(performance.now() - at);
    publishedAt.delete(messageId);
    if (waits.length === expected) complete();
    return Promise.resolve(done());
  };
  const worker = await startWorker({
    ...idleProcess(),
    queue: notification,
    jobs: notificationJobs,
    handlers: { 'notification.send-push': handler, 'notification.send-email': handler, 'notification.send-sms': handler, 'notification.withdraw': handler },
    ports: {},
    redis: { host: url.hostname, port: Number(url.port) },
    prefix: stack.env['QUEUE_PREFIX'] ?? '',
    ledger: createJobLedger(database),
  });

  /** Publishes at the steady rate and waits until every message's processor has started; returns the waits, sorted. */
  async function round(count: number): Promise<number[]> {
    waits = [];
    expected = count;
    const finished = new Promise<void>((resolve) => {
      complete = resolve;
    });
    let sent = 0;
    const startedAt = performance.now();
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        // By the clock, not by the tick: a late timer makes up for what it missed.
        const due = Math.min(count, Math.floor(((performance.now() - startedAt) / 1_000) * PER_SECOND));
        for (; sent < due; sent += 1) {
          const messageId = randomUUID();
          publishedAt.set(messageId, performance.now());
          void publisher.publish({ routingKey: notificationPush.routingKey, messageId, body: Buffer.from(JSON.stringify(notificationPush.example)) });
        }
        if (sent === count) {
          clearInterval(timer);
          resolve();
        }
      }, 1_000 / PER_SECOND);
    });
    await finished;
    return waits.toSorted((left, right) => left - right);
  }

  await round(WARM_UP_MESSAGES);
  for (let index = 0; index < ROUNDS; index += 1) {
    const sorted = await round(ROUND_MESSAGES);
    samples.add('latency.p50_ms', sorted[Math.floor(sorted.length * 0.5)] ?? Number.NaN);
    samples.add('latency.p99_ms', sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN);
  }
  samples.print('latency.p50_ms', 'ms');
  samples.print('latency.p99_ms', 'ms');
  await worker.close();
  await publisher.close();
  await connection.close();
  await database.close();
  await fleet.stop();
} finally {
  await stack.stop({ removeData: true });
}
