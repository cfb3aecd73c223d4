import { integer, text, url } from '@backhaul/runtime';

/** The variables of whoever talks to RabbitMQ. */
export const rabbitEnv = {
  /** amqp://user:password@host:port/vhost, or amqps:// for TLS. */
  RABBITMQ_URL: url('amqp', 'amqps'),
  /** The topic exchange that producers publish to. */
  RABBITMQ_EXCHANGE: text().default('sup_exchange'),
  /** The work queues are `<prefix>.<queue>`. */
  RABBITMQ_QUEUE_PREFIX: text().default('backhaul'),
  /** How often the broker may deliver a message that is never acked before it goes to the dead letter queue. */
  RABBITMQ_DELIVERY_LIMIT: integer({ min: 1, max: 10_000 }).default(50),
};
