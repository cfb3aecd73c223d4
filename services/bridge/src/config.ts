import { rabbitEnv } from '@backhaul/broker';
import { databaseEnv } from '@backhaul/database';
import { redisEnv } from '@backhaul/queue';
import { bytes, integer, milliseconds, serviceEnv } from '@backhaul/runtime';
import { z } from 'zod';

/** What the bridge reads from its environment. */
export const bridgeConfig = z.object({
  ...serviceEnv,
  ...rabbitEnv,
  ...redisEnv,
  ...databaseEnv,
  /** Messages per batch at most: one statement, one pipeline, one ack. */
  BRIDGE_BATCH_SIZE: integer({ min: 1, max: 5_000 }).default(500),
  /** Batches per queue that are under way at once. */
  BRIDGE_BATCHES_IN_FLIGHT: integer({ min: 1, max: 16 }).default(4),
  /** How long a batch that is not full waits for more while others are under way. */
  BRIDGE_LINGER_MS: milliseconds().default(5),
  /** Messages per Bull job at most, where the kind of job allows it; 1 gives each message a Bull job of its own. */
  BRIDGE_ENVELOPE_SIZE: integer({ min: 1, max: 1_000 }).default(500),
  /** Above this many messages in a Bull queue the bridge leaves messages in RabbitMQ. */
  BRIDGE_HIGH_WATER: integer({ min: 1, max: 100_000_000 }).default(100_000),
  /** Larger message bodies are dead letters. A push to 10,000 users has 400 kB. */
  BRIDGE_MAX_BODY_BYTES: bytes({ min: 1_024, max: 16 * 1024 * 1024 }).default(512 * 1024),
  /** How often recorded jobs are compared with Redis. */
  BRIDGE_RECONCILE_INTERVAL_MS: milliseconds().default(30_000),
  /** A recorded job that nobody touched for this long is looked for. */
  BRIDGE_RECONCILE_IDLE_MS: milliseconds().default(30_000),
});
