import { randomUUID } from 'node:crypto';
import { catalog, notification } from '@backhaul/jobs';
import { notificationJobs } from '@backhaul/jobs/notification';
import { createProducer, done, startWorker } from '@backhaul/queue';
import { silentLogger } from '@backhaul/runtime';
import { startStack } from '@backhaul/testing';
import Bull from 'bull';
import { createSamples } from './figure.ts';
import { idleProcess } from './idle-process.ts';

/**
 * How the queue behaves as it grows: adds per second, one job per call, 50 in
 * flight, with three priorities mixed, at several backlogs. Each backlog is a
 * queue of its own, and every round visits all of them, so that a slow minute
 * of the machine hits all alike.
 *
 * | figure | what is measured |
 * |---|---|
 * | growth.ours.<backlog> | adds/s of the producer |
 * | growth.bull.<backlog> | adds/s of `bull` 4 |
 * | growth.ours.drain.<backlog> | jobs/s that a worker takes and finishes, with no work and no record |
 */
const OURS = [1_000, 10_000, 100_000, 1_000_000];
const BULL = [1_000, 10_000, 100_000];
const ROUNDS = 5;
const IN_FLIGHT = 50;
/** Added and taken again in each round, so that a backlog stays what its name says. */
const ADDS = 2_000;
const PRIORITIES = [1, 2, 3];

const samples = createSamples();
const stack = await startStack({ dir: '.backhaul/bench-growth', only: ['redis'] });
try {
  const url = new URL(stack.env['REDIS_URL'] ?? '');
  const redis = { host: url.hostname, port: Number(url.port) };
  const producer = await createProducer({ redis, prefix: 'bench', log: silentLogger, timeoutMs: 60_000 });
  const priorityOf = (index: number) => PRIORITIES[index % PRIORITIES.length] ?? 1;
  const name = notificationJobs[0].name;
  const job = (index: number) => ({ messageId: randomUUID(), name, priority: priorityOf(index), traceparent: null });

  /** Runs `count` adds, `IN_FLIGHT` at once; returns adds per second. */
  async function addsPerSecond(count: number, add: (index: number) => Promise<unknown>): Promise<number> {
    let next = 0;
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (next < count) await add(next++);
      }),
    );
    return (count / (performance.now() - startedAt)) * 1_000;
  }

  const ourQueue = (backlog: number) => `ours-${backlog}`;
  for (const backlog of OURS) {
    process.stderr.write(`filling ours with ${backlog}\n`);
    for (let added = 0; added < backlog; added += 1_000)
      await producer.addBatch(
        ourQueue(backlog),
        Array.from({ length: 1_000 }, (_, index) => job(index)),
      );
  }
  const bulls = new Map(BULL.map((backlog) => [backlog, new Bull(`bull-${backlog}`, { redis })]));
  for (const queue of bulls.values()) await queue.isReady();

  /** Writes Bull's waiting list and priority set directly: adding 100,000 jobs its own way takes minutes, which is what is measured below. */
  async function fillBull(queue: string, backlog: number): Promise<void> {
    await producer.redis.del(`bull:${queue}:wait`, `bull:${queue}:priority`);
    for (const priority of PRIORITIES.toReversed()) {
      const count = Math.ceil(backlog / PRIORITIES.length);
      for (let added = 0; added < count; added += 1_000) {
        const ids = Array.from({ length: Math.min(1_000, count - added) }, () => randomUUID());
        await producer.redis.rpush(`bull:${queue}:wait`, ...ids);
        await producer.redis.zadd(`bull:${queue}:priority`, ...ids.flatMap((id) => [priority, id]));
      }
    }
  }

  // Compiled and connected before anything counts.
  await addsPerSecond(4 * ADDS, (index) => producer.addBatch('warm-up', [job(index)]));
  for (let round = 1; round <= ROUNDS; round += 1) {
    process.stderr.write(`round ${round} of ${ROUNDS}\n`);
    for (const backlog of OURS) {
      samples.add(`growth.ours.${backlog}`, await addsPerSecond(ADDS, (index) => producer.addBatch(ourQueue(backlog), [job(index)])));
    }
    for (const [backlog, queue] of bulls) {
      await fillBull(`bull-${backlog}`, backlog);
      const add = (index: number) => queue.add({ messageId: randomUUID() }, { priority: priorityOf(index) });
      samples.add(`growth.bull.${backlog}`, await addsPerSecond(ADDS, add));
    }
    for (const backlog of OURS) samples.add(`growth.ours.drain.${backlog}`, await drainPerSecond(backlog, ADDS));
  }

  /** Takes `count` jobs off a backlog with one worker; returns jobs per second from the first to the last. */
  async function drainPerSecond(backlog: number, count: number): Promise<number> {
    let taken = 0;
    let startedAt = 0;
    const finished = Promise.withResolvers<number>();
    const handler = () => {
      startedAt ||= performance.now();
      taken += 1;
      if (taken === count) finished.resolve(performance.now());
      return Promise.resolve(done());
    };
    const written = () => Promise.resolve(true);
    const definition = catalog.byName.get(name);
    const worker = await startWorker({
      ...idleProcess(),
      queue: { ...notification, name: ourQueue(backlog) },
      jobs: notificationJobs,
      handlers: { 'notification.send-push': handler, 'notification.send-email': handler, 'notification.send-sms': handler, 'notification.withdraw': handler },
      ports: {},
      redis,
      prefix: 'bench',
      concurrency: IN_FLIGHT,
      ledger: {
        start: () =>
          Promise.resolve({
            state: 'started',
            name,
            payload: definition?.on === undefined ? {} : { type: 'push', userId: 'u', title: 't', body: 'b' },
            attempt: 1,
            failures: 0,
            traceparent: null,
            receivedAt: new Date(),
            firstStartedAt: new Date(),
          }),
        startCarried: () => Promise.reject(new Error('nothing is carried here')),
        leaveCarrier: () => Promise.reject(new Error('nothing is carried here')),
        finish: written,
        finishAll: () => Promise.reject(new Error('nothing is carried here')),
        retry: written,
        postpone: written,
        bury: written,
      },
    });
    const finishedAt = await finished.promise;
    await worker.close();
    return (count / (finishedAt - startedAt)) * 1_000;
  }

  const [smallest, ...larger] = OURS;
  samples.print(`growth.ours.${smallest}`, 'adds/s');
  for (const backlog of larger) samples.print(`growth.ours.${backlog}`, 'adds/s', [`growth.ours.${smallest}`]);
  for (const backlog of BULL) samples.print(`growth.bull.${backlog}`, 'adds/s', [`growth.ours.${backlog}`]);
  samples.print(`growth.ours.drain.${smallest}`, 'jobs/s');
  for (const backlog of larger) samples.print(`growth.ours.drain.${backlog}`, 'jobs/s', [`growth.ours.drain.${smallest}`]);
  await Promise.all([...bulls.values()].map((queue) => queue.close()));
  await producer.close();
} finally {
  await stack.stop({ removeData: true });
}
