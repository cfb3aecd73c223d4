import { randomUUID } from 'node:crypto';
import { silentLogger } from '@backhaul/runtime';
import { eventually, freePort, sharedStack, startProxy } from '@backhaul/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createConnection } from './connection.ts';
import { BrokerUnavailable, Unroutable } from './failures.ts';
import { type Publisher, createPublisher } from './publish.ts';
import { type TestBroker, createTestBroker } from './test-broker.ts';
import { declareTopology } from './topology.ts';

let broker: TestBroker;
beforeEach(async () => {
  broker = await createTestBroker();
});
afterEach(() => broker.close());

const message = (over: { routingKey?: string } = {}) => ({ routingKey: 'work.test', body: Buffer.from('{}'), messageId: randomUUID(), ...over });
const publisherOn = async (url?: string, over: Partial<Parameters<typeof createPublisher>[0]> = {}): Promise<Publisher> =>
  createPublisher({ connection: await broker.connection(url), exchange: broker.topology.exchange, log: silentLogger, timeoutMs: 1_000, ...over });

describe('The topology', () => {
  test('can be declared again and again', async () => {
    for (let round = 0; round < 3; round += 1) await declareTopology(broker.channel, broker.topology);
    const publisher = await publisherOn();
    await publisher.publish(message());
    expect(await broker.ready()).toBe(1);
  });

  test("takes every routing key below a queue's name, and no other", async () => {
    const publisher = await publisherOn();
    for (const routingKey of ['work', 'work.a', 'work.a.b', 'work.']) await publisher.publish(message({ routingKey }));
    expect(await broker.ready()).toBe(4);
    await expect(publisher.publish(message({ routingKey: 'workshop.a' }))).rejects.toBeInstanceOf(Unroutable);
  });
});

describe('Publishing', () => {
  test('resolves once the broker has the message, with its id and headers, kept on disk', async () => {
    const publisher = await publisherOn();
    const sent = { ...message(), headers: { traceparent: '00-x' } };
    await publisher.publish(sent);
    const got = await broker.channel.get(broker.queue, { noAck: true });
    if (got === false) throw new Error('the message is not there');
    expect(got.content).toEqual(sent.body);
    expect(got.properties).toMatchObject({ messageId: sent.messageId, headers: sent.headers, deliveryMode: 2, contentType: 'application/json' });
    await publisher.close();
  });

  test('to nowhere says so, and harms no other', async () => {
    const publisher = await publisherOn();
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => publisher.publish(message({ routingKey: index === 7 ? 'nobody.listens' : 'work.x' }))),
    );
    expect(results.map((result) => result.status).filter((status) => status === 'rejected')).toHaveLength(1);
    expect((results[7] as PromiseRejectedResult).reason).toBeInstanceOf(Unroutable);
    expect(await broker.ready()).toBe(19);
  });

  test('to an exchange that is missing closes the channel, which opens again (B-03)', async () => {
    const { exchange } = broker.topology;
    const publisher = await publisherOn();
    await publisher.publish(message());
    await broker.channel.deleteExchange(exchange);
    await expect(publisher.publish(message())).rejects.toBeInstanceOf(BrokerUnavailable);
    await declareTopology(broker.channel, broker.topology);
    await eventually(() => publisher.publish(message()));
  });

  test('while the broker is away fails in time, and works again afterwards', async () => {
    const proxy = await startProxy({ target: broker.url });
    const publisher = await publisherOn(proxy.url);
    await publisher.publish(message());
    await proxy.refuse();
    const startedAt = Date.now();
    await expect(publisher.publish(message())).rejects.toBeInstanceOf(BrokerUnavailable);
    expect(Date.now() - startedAt).toBeLessThan(1_500);
    await proxy.listen();
    await eventually(() => publisher.publish(message()));
    await proxy.close();
  });

  test('into a network that swallows everything fails in time', async () => {
    const proxy = await startProxy({ target: broker.url });
    const publisher = await publisherOn(`${proxy.url}?heartbeat=1`);
    await publisher.publish(message());
    proxy.set({ blackhole: true });
    const startedAt = Date.now();
    await expect(publisher.publish(message())).rejects.toBeInstanceOf(BrokerUnavailable);
    expect(Date.now() - startedAt).toBeLessThan(1_500);
    proxy.set({});
    proxy.cut();
    await eventually(() => publisher.publish(message()));
    await proxy.close();
  });

  test('whose connection is cut before the confirm fails at once, not at its deadline', async () => {
    const proxy = await startProxy({ target: broker.url });
    const publisher = await publisherOn(proxy.url, { timeoutMs: 60_000 });
    await publisher.publish(message());
    proxy.set({ blackhole: true });
    const lost = publisher.publish(message()).catch((error: unknown) => error);
    setTimeout(() => proxy.cut(), 50);
    expect(await lost).toBeInstanceOf(BrokerUnavailable);
    proxy.set({});
    proxy.cut();
    await publisher.publish(message());
    await proxy.close();
  });

  test('many at once are all confirmed', async () => {
    const publisher = await publisherOn(undefined, { timeoutMs: 10_000 });
    await Promise.all(Array.from({ length: 500 }, () => publisher.publish(message())));
    expect(await broker.ready()).toBe(500);
  });
});

describe('The first connection', () => {
  test('with wrong credentials or to a wrong vhost fails, and its error keeps the password (B-06)', async () => {
    const { env } = sharedStack();
    const wrong = new URL(env['RABBITMQ_URL'] ?? '');
    wrong.password = 'canary-5f2b';
    const failure = await createConnection({ url: wrong.href, name: 'test', log: silentLogger, initialRetries: 0 }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BrokerUnavailable);
    expect(`${String(failure)} ${String((failure as Error).cause)}`).not.toContain('canary-5f2b');
    const vhost = `${env['RABBITMQ_URL'] ?? ''}/no-such-vhost`;
    await expect(createConnection({ url: vhost, name: 'test', log: silentLogger, initialRetries: 0 })).rejects.toBeInstanceOf(BrokerUnavailable);
  });

  test('to nobody fails after its retries; one that is answered late succeeds', async () => {
    const port = await freePort();
    const url = `amqp://guest:guest@127.0.0.1:${port}`;
    await expect(createConnection({ url, name: 'test', log: silentLogger, initialRetries: 1 })).rejects.toBeInstanceOf(BrokerUnavailable);
    const connecting = createConnection({ url, name: 'test', log: silentLogger });
    const proxy = await startProxy({ target: broker.url, port });
    const connection = await connecting;
    expect(connection.connected).toBe(true);
    await connection.close();
    await proxy.close();
  });
});
