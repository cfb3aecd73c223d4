import { randomUUID } from 'node:crypto';
import { silentLogger } from '@backhaul/runtime';
import { sharedStack } from '@backhaul/testing';
import { type Channel, type ChannelModel, connect } from 'amqplib';
import { type Connection, createConnection } from './connection.ts';
import { type Consumer, type ConsumerOptions, type Delivery, consumeBatches } from './consume.ts';
import { type Topology, declareTopology, workQueue } from './topology.ts';

/** For tests: an exchange and queues of their own on the shared broker, and a plain client beside ours. */
export interface TestBroker {
  readonly url: string;
  readonly topology: Topology;
  /** The broker's name of the work queue `work`. */
  readonly queue: string;
  /** A plain client's channel. */
  readonly channel: Channel;
  connection(url?: string): Promise<Connection>;
  /** A consumer of the queue; closed with the broker. */
  consume(options: Pick<ConsumerOptions, 'connection' | 'handle'> & Partial<ConsumerOptions>): Consumer;
  /** Publishes `count` messages with ids and bodies `<from>`, `<from + 1>`, .. and waits until the broker has them. */
  publish(count: number, from?: number): Promise<void>;
  /** Messages in the queue that are not with a consumer. */
  ready(queue?: string): Promise<number>;
  close(): Promise<void>;
}

/** Makes one. */
export async function createTestBroker(over: Partial<Topology> = {}): Promise<TestBroker> {
  const url = sharedStack().env['RABBITMQ_URL'] ?? '';
  const name = `test_${randomUUID()}`;
  const topology: Topology = { exchange: name, queuePrefix: name, queues: ['work'], deliveryLimit: 20, ...over };
  const model: ChannelModel = await connect(url);
  const channel = await model.createChannel();
  await declareTopology(channel, topology);
  const queue = workQueue(topology, 'work');
  const consumers: Consumer[] = [];
  const connections: Connection[] = [];
  return {
    url,
    topology,
    queue,
    channel,
    async connection(address = url) {
      const connection = await createConnection({ url: address, name: 'test', log: silentLogger });
      connections.push(connection);
      return connection;
    },
    consume(options) {
      const consumer = consumeBatches({
        queue,
        declare: (fresh) => declareTopology(fresh, topology),
        batchSize: 10,
        lingerMs: 5,
        batchesInFlight: 2,
        gate: () => Promise.resolve(),
        log: silentLogger,
        ...options,
      });
      consumers.push(consumer);
      return consumer;
    },
    async publish(count, from = 0) {
      const confirming = await model.createConfirmChannel();
      for (let id = from; id < from + count; id += 1) {
        confirming.publish(topology.exchange, 'work.test', Buffer.from(String(id)), { messageId: String(id), persistent: true });
      }
      await confirming.waitForConfirms();
      await confirming.close();
    },
    async ready(of = queue) {
      return (await channel.checkQueue(of)).messageCount;
    },
    async close() {
      await Promise.all(consumers.map((consumer) => consumer.close()));
      await Promise.all(connections.map((connection) => connection.close()));
      // On a channel of its own: a test may have broken the other one.
      const last = await model.createChannel();
      for (const one of [...topology.queues.map((each) => workQueue(topology, each)), `${topology.queuePrefix}.dead`]) await last.deleteQueue(one);
      await last.deleteExchange(topology.exchange);
      await last.deleteExchange(`${topology.queuePrefix}.dead`);
      await model.close();
    },
  };
}

/** The message ids of a batch. */
export const idsOf = (batch: readonly Delivery[]) => batch.map((delivery) => delivery.messageId ?? '');
