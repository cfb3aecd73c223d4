import type { z } from 'zod';

/** What upstream says happened: one routing key, the shape of its data, and an example that the docs and tests use. */
export interface EventDefinition<RoutingKey extends string = string, Data = unknown> {
  /** The AMQP routing key, `<queue>.<type>`. */
  readonly routingKey: RoutingKey;
  /** The body's shape. Unknown fields are dropped, never refused. */
  readonly data: z.ZodType<Data>;
  readonly example: Data;
}

/** Declares an event. */
export function defineEvent<const RoutingKey extends string, Data>(definition: EventDefinition<RoutingKey, Data>): EventDefinition<RoutingKey, Data> {
  return definition;
}
