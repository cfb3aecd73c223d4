import { type Connection, type Publisher, createConnection, createPublisher, rabbitEnv } from '@backhaul/broker';
import { type Database, createDatabase, databaseEnv } from '@backhaul/database';
import { queues } from '@backhaul/jobs';
import { type ObjectStore, createObjectStore, objectStoreEnv, objectStoreOptions } from '@backhaul/object-store';
import { type Inspector, type Producer, createInspector, createProducer, failFast, redisEnv, redisOptions, whenReady } from '@backhaul/queue';
import { loadConfig, silentLogger, withDeadline } from '@backhaul/runtime';
import { z } from 'zod';
import type { Environment } from './environment.ts';

const databaseConfig = z.object(databaseEnv);
const redisConfig = z.object(redisEnv);
const storeConfig = z.object(objectStoreEnv);
/** Where RabbitMQ is and what the fleet has declared there. */
export const rabbitConfig = z.object(rabbitEnv);

/**
 * The servers, each connected to when a command first asks for it: a command
 * needs only the variables of the servers that it uses.
 *
 * Each method throws InvalidConfig when a variable is missing, and an error
 * that says so when its server does not answer; nothing waits for ever.
 */
export interface Connections {
  readonly env: Environment;
  database(): Database;
  /** A connection to Redis that has had its first contact. */
  redis(): Promise<ReturnType<typeof failFast>>;
  inspector(): Promise<Inspector>;
  producer(): Promise<Producer>;
  broker(): Promise<Connection>;
  publisher(): Promise<Publisher>;
  store(): ObjectStore;
  /** Closes what was opened, last first, within a few seconds. */
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 15_000;
const CLOSE_TIMEOUT_MS = 3_000;

/** Makes the connections of one run; none is opened yet. */
export function createConnections(env: Environment): Connections {
  const closers: (() => Promise<unknown>)[] = [];
  const log = silentLogger;
  function once<Resource>(open: () => Resource): () => Resource {
    let opened: { readonly resource: Resource } | undefined;
    return () => (opened ??= { resource: open() }).resource;
  }
  function closing<Resource extends { close(): Promise<unknown> }>(resource: Resource): Resource {
    closers.push(() => resource.close());
    return resource;
  }

  const connections: Connections = {
    env,
    database: once(() => {
      const config = loadConfig(databaseConfig, env);
      return closing(
        createDatabase({
          url: config.DATABASE_URL,
          poolSize: 4,
          statementTimeoutMs: Math.min(STATEMENT_TIMEOUT_MS, config.DATABASE_STATEMENT_TIMEOUT_MS),
          applicationName: 'backhaul-cli',
          log,
        }),
      );
    }),
    redis: once(async () => {
      const redis = failFast(redisOptions(loadConfig(redisConfig, env)), log);
      closers.push(() => Promise.resolve(redis.disconnect()));
      await whenReady(redis, CONNECT_TIMEOUT_MS);
      return redis;
    }),
    inspector: once(async () =>
      closing(
        createInspector({ redis: await connections.redis(), prefix: loadConfig(redisConfig, env).QUEUE_PREFIX, queues: queues.map(({ name }) => name), log }),
      ),
    ),
    producer: once(async () => {
      const config = loadConfig(redisConfig, env);
      return closing(await createProducer({ redis: redisOptions(config), prefix: config.QUEUE_PREFIX, log }));
    }),
    broker: once(async () =>
      closing(await createConnection({ url: loadConfig(rabbitConfig, env).RABBITMQ_URL, name: 'backhaul-cli', log, initialRetries: 0 })),
    ),
    publisher: once(async () =>
      closing(createPublisher({ connection: await connections.broker(), exchange: loadConfig(rabbitConfig, env).RABBITMQ_EXCHANGE, log })),
    ),
    store: once(() => closing(createObjectStore({ ...objectStoreOptions(loadConfig(storeConfig, env)), attempts: 2 }))),
    async close() {
      for (let close = closers.pop(); close !== undefined; close = closers.pop()) {
        await withDeadline('closing a connection', CLOSE_TIMEOUT_MS, close()).catch(() => undefined);
      }
    },
  };
  return connections;
}
