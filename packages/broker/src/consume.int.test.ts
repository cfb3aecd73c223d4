import { silentLogger } from '@backhaul/runtime';
import { type TcpProxy, eventually, startProxy } from '@backhaul/testing';
import type { Channel } from 'amqplib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BatchVerdict, Delivery } from './consume.ts';
import { type TestBroker, createTestBroker, idsOf } from './test-broker.ts';
import { declareTopology } from './topology.ts';

let broker: TestBroker;
let proxy: TcpProxy | undefined;
beforeEach(async () => {
  broker = await createTestBroker();
});
afterEach(async () => {
  // A close waits for the batches in flight.
  for (const each of unsettled.splice(0)) each.settle('ack');
  proxy?.set({});
  await broker.close();
  await proxy?.close();
  proxy = undefined;
});

interface Held {
  readonly batch: readonly Delivery[];
  settle(verdict: BatchVerdict | Error): void;
}

const unsettled: Held[] = [];

/** A handler that holds each batch until the test settles it. */
function holding() {
  const held: Held[] = [];
  const handle = (batch: readonly Delivery[]) =>
    new Promise<BatchVerdict>((resolve, reject) => {
      const one: Held = { batch, settle: (verdict) => (verdict instanceof Error ? reject(verdict) : resolve(verdict)) };
      held.push(one);
      unsettled.push(one);
    });
  const batch = (index: number) =>
    eventually(() => {
      const found = held[index];
      if (found === undefined) throw new Error(`batch ${index} has not come; there are ${held.length}`);
      return found;
    });
  /** The first batch that begins with a message that came before. */
  const again = () =>
    eventually(() => {
      const found = held.find((one) => one.batch[0]?.redelivered);
      if (found === undefined) throw new Error('nothing has come again');
      return found;
    });
  return { held, handle, batch, again };
}

/** A handler that acks everything and remembers it. */
function acking() {
  const seen: string[] = [];
  const redelivered = new Set<string>();
  const handle = (batch: readonly Delivery[]): Promise<BatchVerdict> => {
    seen.push(...idsOf(batch));
    for (const one of batch) if (one.redelivered) redelivered.add(one.messageId ?? '');
    return Promise.resolve('ack');
  };
  const all = (count: number) => eventually(() => expect(new Set(seen).size).toBe(count));
  return { seen, redelivered, handle, all };
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => String(index));

describe('Acks', () => {
  test('go out only after the verdict', async () => {
    const { handle, batch } = holding();
    const connection = await broker.connection();
    const consumer = broker.consume({ connection, handle, batchSize: 100 });
    await broker.publish(1);
    const first = await batch(0);
    expect(consumer.unacked).toBe(1);
    first.settle('ack');
    await eventually(() => expect(consumer.unacked).toBe(0));
    await consumer.close();
    expect(await broker.ready()).toBe(0);
  });

  test('go out in order: a later batch that is done first waits for the earlier ones', async () => {
    await broker.publish(9);
    const { handle, batch } = holding();
    const consumer = broker.consume({ connection: await broker.connection(), handle, batchSize: 4, batchesInFlight: 3 });
    const [first, second, third] = [await batch(0), await batch(1), await batch(2)];
    expect([first, second, third].flatMap((held) => idsOf(held.batch))).toEqual(numbers(9));
    third.settle('ack');
    second.settle('ack');
    expect(consumer.unacked).toBe(9);
    first.settle('ack');
    await eventually(() => expect(consumer.unacked).toBe(0));
    await consumer.close();
    expect(await broker.ready()).toBe(0);
  });

  test('of later batches do not cover one that was given back', async () => {
    await broker.publish(9);
    const { held, handle, batch } = holding();
    broker.consume({ connection: await broker.connection(), handle, batchSize: 4, batchesInFlight: 3 });
    const [first, second, third] = [await batch(0), await batch(1), await batch(2)];
    second.settle('ack');
    third.settle('ack');
    first.settle('give_back');
    const again = await batch(3);
    expect(again.batch[0]).toMatchObject({ messageId: '0', redelivered: true });
    for (let next = 3; next < held.length + 1; next += 1) {
      held[next]?.settle('ack');
      if (new Set(held.slice(3).flatMap((one) => idsOf(one.batch))).size < 9) await batch(next + 1);
    }
    expect(new Set(held.slice(3).flatMap((one) => idsOf(one.batch)))).toEqual(new Set(numbers(9)));
  });
});

describe('A batch', () => {
  test('is at most as large as it may be, and an idle consumer does not wait for company', async () => {
    const sizes: number[] = [];
    const { seen, handle, all } = acking();
    broker.consume({
      connection: await broker.connection(),
      batchSize: 7,
      lingerMs: 60_000,
      handle: (batch) => {
        sizes.push(batch.length);
        return handle(batch);
      },
    });
    await broker.publish(1);
    await all(1);
    await broker.publish(200, 1);
    await all(201);
    expect(seen).toHaveLength(201);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(7);
  });

  test.each([
    ['given back', 'give_back' as const],
    ['thrown at', new Error('unforeseen')],
  ])('that is %s comes again, once the gate is open', async (_what, verdict) => {
    await broker.publish(3);
    const { handle, batch, again } = holding();
    let open: () => void = () => undefined;
    let asked = 0;
    const gate = () => {
      asked += 1;
      return asked === 1 ? Promise.resolve() : new Promise<void>((resolve) => (open = resolve));
    };
    const consumer = broker.consume({ connection: await broker.connection(), handle, gate });
    (await batch(0)).settle(verdict);
    await eventually(() => expect(asked).toBe(2));
    await eventually(async () => expect(await broker.ready()).toBe(3));
    expect(consumer.state).toBe('paused');
    expect(consumer.unacked).toBe(0);
    open();
    expect(idsOf((await again()).batch)[0]).toBe('0');
    await eventually(() => expect(consumer.state).toBe('consuming'));
  });

  test('that is given back too often goes to the dead queue, not to nowhere (C-14)', async () => {
    const limited = await createTestBroker({ deliveryLimit: 2 });
    const { redelivered, handle, all } = acking();
    const connection = await limited.connection();
    await limited.publish(1);
    limited.consume({ connection, handle: () => Promise.resolve('give_back') });
    limited.consume({ connection, handle, queue: `${limited.topology.queuePrefix}.dead` });
    await all(1);
    expect(redelivered.size).toBe(0);
    expect(await limited.ready()).toBe(0);
    await limited.close();
  });

  test('holds messages of any make: no id, an empty one, headers of every type (C-12)', async () => {
    const { handle, batch } = holding();
    const headers = {
      traceparent: 42,
      'x-death': [{ count: 1e6 }],
      list: [1, 'a', null, true],
      nested: { a: { b: 1.5 } },
      empty: null,
      bytes: Buffer.from([0, 255]),
    };
    const { channel, topology } = broker;
    channel.publish(topology.exchange, 'work.x', Buffer.alloc(0), { headers });
    channel.publish(topology.exchange, 'work.', Buffer.from([0, 255]), { messageId: '', contentEncoding: 'gzip' });
    channel.publish(topology.exchange, 'work', Buffer.from('x'), { messageId: 'ü'.repeat(120) });
    broker.consume({ connection: await broker.connection(), handle, batchSize: 1, batchesInFlight: 3 });
    const all = [await batch(0), await batch(1), await batch(2)].flatMap((held) => held.batch);
    expect(all).toMatchObject([
      { routingKey: 'work.x', messageId: undefined, contentEncoding: undefined, redelivered: false },
      { routingKey: 'work.', messageId: undefined, contentEncoding: 'gzip', headers: {} },
      { routingKey: 'work', messageId: 'ü'.repeat(120) },
    ]);
    expect(all[0]?.headers['traceparent']).toBe(42);
    expect(all[1]?.body).toEqual(Buffer.from([0, 255]));
  });
});

describe('What is taken from the broker', () => {
  test('is bounded, however long the queue is (B-17)', async () => {
    await broker.publish(500);
    const { handle, batch } = holding();
    const consumer = broker.consume({ connection: await broker.connection(), handle, batchSize: 10, batchesInFlight: 2 });
    await batch(1);
    await eventually(() => expect(consumer.unacked).toBe(30));
    expect(await broker.ready()).toBe(470);
  });

  test('may be more than AMQP can count: the largest settings still consume', async () => {
    const { handle, all } = acking();
    broker.consume({ connection: await broker.connection(), handle, batchSize: 5_000, batchesInFlight: 16 });
    await broker.publish(1);
    await all(1);
  });

  test('stops under pressure and goes on without it', async () => {
    let pressure: string | undefined = 'too many jobs wait';
    const { seen, handle, all } = acking();
    const consumer = broker.consume({ connection: await broker.connection(), handle, pressure: () => Promise.resolve(pressure) });
    await eventually(() => expect(consumer.state).toBe('paused'));
    await broker.publish(100);
    await eventually(() => expect(consumer.unacked).toBe(30));
    expect(seen).toEqual([]);
    pressure = undefined;
    await all(100);
    expect(consumer.state).toBe('consuming');
  });

  test('goes back when the pressure cannot be told, and comes again later', async () => {
    let fails = 2;
    const { handle, all } = acking();
    broker.consume({
      connection: await broker.connection(),
      handle,
      pressure: () => (fails-- > 0 ? Promise.reject(new Error('Redis is away')) : Promise.resolve(undefined)),
    });
    await broker.publish(20);
    await all(20);
  });
});

describe('A consumer comes back by itself', () => {
  test('when the broker closed its channel (B-03)', async () => {
    const { handle, all } = acking();
    let channel: Channel | undefined;
    const warnings: string[] = [];
    broker.consume({
      connection: await broker.connection(),
      handle,
      log: { ...silentLogger, warn: (message) => void warnings.push(message) },
      async declare(fresh) {
        channel = fresh;
        await declareTopology(fresh, broker.topology);
      },
    });
    await broker.publish(10);
    await all(10);
    const before = channel;
    // Acks what was never delivered: 406 PRECONDITION_FAILED.
    channel?.ack({ fields: { deliveryTag: 4_242 } } as Parameters<Channel['ack']>[0]);
    await eventually(() => expect(channel).not.toBe(before));
    await broker.publish(10, 10);
    await all(20);
    expect(warnings).toContain('consuming channel failed');
  });

  test('when its queue was deleted: it is declared again (A-17)', async () => {
    const { handle, all } = acking();
    broker.consume({ connection: await broker.connection(), handle });
    await broker.publish(10);
    await all(10);
    await broker.channel.deleteQueue(broker.queue);
    await eventually(async () => {
      // A check that fails closes its channel: publish instead, and look whether it arrives.
      await broker.publish(1, 10);
      expect(await Promise.race([all(11).then(() => true), new Promise((resolve) => setTimeout(resolve, 300, false))])).toBe(true);
    });
  });

  test('when its connection was reset; what was not acked comes again, nothing is acked twice (B-01)', async () => {
    proxy = await startProxy({ target: broker.url });
    const connection = await broker.connection(proxy.url);
    const { handle, held, batch, again } = holding();
    const consumer = broker.consume({ connection, handle, batchSize: 5 });
    await broker.publish(5);
    await batch(1);
    const old = [...held];
    const cutAt = Date.now();
    proxy.cut();
    await again();
    expect(Date.now() - cutAt).toBeLessThan(3_000);
    // The old batches are done only now: their acks belong to a channel that is gone.
    for (const one of old) one.settle('ack');
    await eventually(() => {
      for (const one of held) one.settle('ack');
      expect(new Set(held.slice(old.length).flatMap((one) => idsOf(one.batch)))).toEqual(new Set(numbers(5)));
      expect(consumer.unacked).toBe(0);
    });
    await broker.publish(1, 5);
    await eventually(() => expect(idsOf(held.at(-1)?.batch ?? [])).toEqual(['5']));
    // The cut may come while the broker is still handing over the first five.
    const before = old.flatMap((one) => idsOf(one.batch)).length;
    expect(held.flatMap((one) => idsOf(one.batch))).toHaveLength(before + 6);
  });

  test('when the network swallows everything: the heartbeat tells (B-02)', async () => {
    proxy = await startProxy({ target: broker.url });
    const connection = await broker.connection(`${proxy.url}?heartbeat=1`);
    const { handle, all } = acking();
    const consumer = broker.consume({ connection, handle });
    await broker.publish(1);
    await all(1);
    proxy.set({ blackhole: true });
    await eventually(() => expect(connection.connected).toBe(false));
    await eventually(() => expect(consumer.state).toBe('disconnected'));
    proxy.set({});
    proxy.cut();
    await broker.publish(1, 1);
    await all(2);
  });

  test('when the connection breaks again and again while it is being set up (B-04)', async () => {
    proxy = await startProxy({ target: broker.url });
    const { handle, all } = acking();
    broker.consume({ connection: await broker.connection(proxy.url), handle });
    await broker.publish(1);
    await all(1);
    for (const cutAfterBytes of [100, 600, 900, 1_400]) {
      const before = proxy.accepted;
      proxy.set({ cutAfterBytes });
      proxy.cut();
      await eventually(() => expect(proxy?.accepted).toBeGreaterThan(before));
    }
    proxy.set({});
    await broker.publish(1, 1);
    await all(2);
  });

  test('when its queue cannot be declared, once it can; meanwhile it does not spin', async () => {
    let declared = 0;
    const { handle, all } = acking();
    let deliveryLimit = 21;
    broker.consume({
      connection: await broker.connection(),
      handle,
      declare(fresh) {
        declared += 1;
        return declareTopology(fresh, { ...broker.topology, deliveryLimit });
      },
    });
    await broker.publish(1);
    await eventually(() => expect(declared).toBeGreaterThan(2));
    expect(declared).toBeLessThan(6);
    deliveryLimit = broker.topology.deliveryLimit;
    await all(1);
  });
});

describe('Closing', () => {
  test('waits for the batches in flight, acks them, and gives the rest back', async () => {
    await broker.publish(20);
    const { held, handle, batch } = holding();
    const consumer = broker.consume({ connection: await broker.connection(), handle, batchSize: 4, batchesInFlight: 2 });
    const [first, second] = [await batch(0), await batch(1)];
    let closed = false;
    const closing = consumer.close().then(() => (closed = true));
    second.settle('ack');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(closed).toBe(false);
    first.settle('ack');
    await closing;
    expect(consumer.state).toBe('stopped');
    expect(held).toHaveLength(2);
    await eventually(async () => expect(await broker.ready()).toBe(20 - first.batch.length - second.batch.length));
  });

  test.each(['while the gate is shut', 'while under pressure'] as const)('%s is quick', async (when) => {
    const gate = (signal: AbortSignal) =>
      when === 'while the gate is shut' ? new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())) : Promise.resolve();
    const consumer = broker.consume({
      connection: await broker.connection(),
      handle: () => Promise.resolve('ack'),
      gate,
      pressure: () => Promise.resolve('high'),
    });
    await eventually(() => expect(consumer.state).toMatch(/starting|paused/));
    const startedAt = Date.now();
    await consumer.close();
    expect(Date.now() - startedAt).toBeLessThan(2_500);
    expect(consumer.state).toBe('stopped');
  });

  test('while the broker is away is quick too', async () => {
    proxy = await startProxy({ target: broker.url });
    const connection = await broker.connection(proxy.url);
    const consumer = broker.consume({ connection, handle: () => Promise.resolve('ack') });
    await eventually(() => expect(consumer.state).toBe('consuming'));
    await proxy.refuse();
    await eventually(() => expect(consumer.state).toBe('disconnected'));
    const startedAt = Date.now();
    await consumer.close();
    await connection.close();
    expect(Date.now() - startedAt).toBeLessThan(4_000);
    await proxy.listen();
  });
});
