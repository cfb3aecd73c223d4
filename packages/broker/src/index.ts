export { checkTopology } from './check-topology.ts';
export { createConnection, type Connection, type ConnectionOptions } from './connection.ts';
export { consumeBatches, type BatchVerdict, type Consumer, type ConsumerOptions, type Delivery } from './consume.ts';
export { defineEvent, type EventDefinition } from './define-event.ts';
export { rabbitEnv } from './env.ts';
export { BrokerUnavailable, Unroutable } from './failures.ts';
export { createPublisher, type Message, type Publisher } from './publish.ts';
export { deadQueue, declareTopology, workQueue, type Topology } from './topology.ts';
