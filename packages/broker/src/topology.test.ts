import type { Channel } from 'amqplib';
import { expect, test } from 'vitest';
import { deadQueue, declareTopology, workQueue } from './topology.ts';

test('Every queue says its own delivery limit, and the dead queue as good as none: RabbitMQ 4 would drop after 20', async () => {
  const limits = new Map<string, unknown>();
  const channel = {
    assertExchange: () => Promise.resolve(),
    bindQueue: () => Promise.resolve(),
    assertQueue: (queue: string, { arguments: given }: { arguments: Record<string, unknown> }) => Promise.resolve(limits.set(queue, given['x-delivery-limit'])),
  };
  const topology = { exchange: 'events', queuePrefix: 'fleet', queues: ['media'], deliveryLimit: 50 };

  await declareTopology(channel as unknown as Channel, topology);

  expect(limits.get(workQueue(topology, 'media'))).toBe(50);
  expect(limits.get(deadQueue(topology))).toBeGreaterThanOrEqual(1_000_000_000);
});
