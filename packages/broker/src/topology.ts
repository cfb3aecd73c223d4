import type { Channel } from 'amqplib';

/** What is declared on the broker. Declaring is idempotent; other arguments for an existing queue are an error (406) that the operator must settle. */
export interface Topology {
  /** The topic exchange, durable. */
  readonly exchange: string;
  readonly queuePrefix: string;
  /** Work queues: `<prefix>.<queue>` takes `<queue>.#`. */
  readonly queues: readonly string[];
  readonly deliveryLimit: number;
}

/** The broker's name of a work queue. */
export const workQueue = (topology: Pick<Topology, 'queuePrefix'>, queue: string) => `${topology.queuePrefix}.${queue}`;
/** Where messages go that were delivered too often without an ack. */
export const deadQueue = (topology: Pick<Topology, 'queuePrefix'>) => `${topology.queuePrefix}.dead`;

/**
 * Deliveries of a dead message before the broker drops it: as good as never.
 * Nothing lies behind the dead queue, and RabbitMQ 4 drops after 20 if nothing
 * is said: a minute of a database that refuses writes. A number, because
 * brokers before 4 do not take -1 for "never".
 */
const DEAD_DELIVERY_LIMIT = 1_000_000_000;

const deadExchange = (topology: Topology) => `${topology.queuePrefix}.dead`;

/**
 * Declares exchange, work queues and dead letter queue.
 *
 * Quorum queues: a confirmed message survives as long as a majority of the
 * nodes does. The delivery limit is explicit, because its default differs by
 * broker version (none before 4.0, 20 from then on); dead-lettering is
 * at-least-once, because its default may drop the message on the way.
 */
export async function declareTopology(channel: Channel, topology: Topology): Promise<void> {
  await channel.assertExchange(topology.exchange, 'topic', { durable: true });
  await channel.assertExchange(deadExchange(topology), 'fanout', { durable: true });
  await channel.assertQueue(deadQueue(topology), { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': DEAD_DELIVERY_LIMIT } });
  await channel.bindQueue(deadQueue(topology), deadExchange(topology), '');
  for (const queue of topology.queues) {
    const name = workQueue(topology, queue);
    await channel.assertQueue(name, {
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        'x-delivery-limit': topology.deliveryLimit,
        'x-dead-letter-exchange': deadExchange(topology),
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
      },
    });
    await channel.bindQueue(name, topology.exchange, `${queue}.#`);
  }
}
