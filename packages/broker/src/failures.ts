/** RabbitMQ did not take or confirm a message. Transient: publish again with the same message id. */
export class BrokerUnavailable extends Error {
  readonly code = 'broker_unavailable';

  constructor(cause: unknown) {
    super(`the broker is not available: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'BrokerUnavailable';
  }
}

/** No queue is bound for the routing key: the message would have been dropped in silence. The publisher must act. */
export class Unroutable extends Error {
  readonly code = 'unroutable';

  constructor(exchange: string, routingKey: string) {
    super(`no queue of exchange ${exchange} takes the routing key ${routingKey}`);
    this.name = 'Unroutable';
  }
}
