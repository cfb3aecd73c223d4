import { randomUUID } from 'node:crypto';
import { type Closeable, silentLogger } from '@backhaul/runtime';
import { eventually, sharedStack } from '@backhaul/testing';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { redisOptions } from './env.ts';
import { type Producer, createProducer } from './producer.ts';
import { type MemoryLedger, memoryLedger } from './test-ledger.ts';
import { type TestWorkerOptions, startTestWorker, testJob } from './test-worker.ts';

/** For tests: a queue of its own for each test, in the shared Redis, with a record in memory. */
export class TestQueue {
  readonly redisUrl = sharedStack().env['REDIS_URL'] ?? '';
  readonly redis = new Redis(this.redisUrl, { lazyConnect: true });
  readonly #workers = new Set<Closeable>();
  #current: { readonly prefix: string; readonly ledger: MemoryLedger; readonly producer: Producer } | undefined;

  /** Makes the queue of one test, and clears it away after that. Called once per file. */
  static forEachTest(): TestQueue {
    const queue = new TestQueue();
    beforeAll(() => queue.redis.connect());
    beforeEach(async () => {
      const prefix = `test-${randomUUID()}`;
      const redis = redisOptions({ REDIS_URL: queue.redisUrl, REDIS_HOST: '', REDIS_PORT: 0 });
      queue.#current = { prefix, ledger: memoryLedger(), producer: await createProducer({ redis, prefix, log: silentLogger }) };
    });
    afterEach(async () => {
      await queue.closeWorkers();
      await queue.producer.close();
      await queue.wipe();
    });
    afterAll(() => queue.redis.disconnect());
    return queue;
  }

  get prefix(): string {
    return this.#now.prefix;
  }

  get ledger(): MemoryLedger {
    return this.#now.ledger;
  }

  get producer(): Producer {
    return this.#now.producer;
  }

  get #now() {
    if (this.#current === undefined) throw new Error('there is a queue only while a test runs');
    return this.#current;
  }

  /** Starts a worker, which ends with the test at the latest. */
  async work(options: Pick<TestWorkerOptions, 'work'> & Partial<TestWorkerOptions>): Promise<Closeable> {
    const { redisUrl, prefix, ledger } = this;
    const started = await startTestWorker({ redisUrl, prefix, ledger, ...options });
    const worker: Closeable = {
      close: () => {
        this.#workers.delete(worker);
        return started.close();
      },
    };
    this.#workers.add(worker);
    return worker;
  }

  async closeWorkers(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.close()));
  }

  /** Records jobs of these messages and puts them into the queue; together in the envelope `carrier`, if one is named. */
  async add(messageIds: readonly string[], carrier: string | null = null): Promise<void> {
    for (const messageId of messageIds) this.ledger.record({ messageId, name: testJob.name, payload: { n: 1 }, ...(carrier === null ? {} : { carrier }) });
    await this.enqueue(messageIds, carrier);
  }

  /** Puts jobs that are on record into the queue. */
  async enqueue(messageIds: readonly string[], carrier: string | null = null): Promise<void> {
    await this.producer.addBatch(
      'work',
      messageIds.map((messageId) => ({ messageId, name: testJob.name, priority: 1, traceparent: null, carrier })),
    );
  }

  /** Waits until a job's status is this. */
  async status(messageId: string, expected: string, timeoutMs?: number): Promise<void> {
    await eventually(
      () => {
        const { status } = this.ledger.of(messageId);
        if (status !== expected) throw new Error(`the job of ${messageId} is ${status}, not ${expected}`);
      },
      timeoutMs === undefined ? {} : { timeoutMs },
    );
  }

  /** Waits until nothing is left in the queue. */
  async gone(): Promise<void> {
    await eventually(async () => {
      const depth = await this.producer.depth('work');
      if (depth !== 0) throw new Error(`${depth} jobs are left in the queue`);
    });
  }

  /** Takes everything out of Redis. */
  async wipe(): Promise<void> {
    const keys = await this.redis.keys(`${this.prefix}:*`);
    if (keys.length > 0) await this.redis.del(keys);
  }
}
