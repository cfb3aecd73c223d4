import type { BatchVerdict, Delivery } from '@backhaul/broker';
import type { DeadLetters } from '@backhaul/database';
import type { DecodedEvent, PoisonedMessage, RawMessage } from '@backhaul/events';
import type { Logger } from '@backhaul/runtime';
import { toPoison } from './bridge.ts';

/** Stores what the broker gave up delivering (each time, the bridge died before its ack) as dead letters `delivery_limit`. */
export function createDeadQueueHandler(options: {
  decode: (message: RawMessage) => DecodedEvent | PoisonedMessage;
  deadLetters: Pick<DeadLetters, 'poison'>;
  log: Logger;
}): (batch: readonly Delivery[]) => Promise<BatchVerdict> {
  return async (batch) => {
    try {
      await options.deadLetters.poison(
        batch.map((delivery) => {
          const { messageId, bodyHash } = options.decode(delivery);
          return toPoison(delivery.routingKey.split('.')[0] ?? '', delivery, {
            messageId,
            bodyHash,
            reason: 'delivery_limit',
            message: 'delivered more often than the delivery limit allows without ever being acked',
          });
        }),
      );
    } catch (error) {
      options.log.warn('dead messages stay on the broker for now', { error });
      return 'give_back';
    }
    options.log.error('messages reached the delivery limit', { count: batch.length });
    return 'ack';
  };
}
