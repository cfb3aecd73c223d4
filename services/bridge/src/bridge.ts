import type { BatchVerdict, Delivery } from '@backhaul/broker';
import { type DeadLetters, DatabaseUnavailable, type Jobs, type NewJob, type PoisonMessage, sqlState } from '@backhaul/database';
import type { DecodedEvent, PoisonedMessage, RawMessage } from '@backhaul/events';
import { type JobDefinition, type JobReference, type Producer, QueueUnavailable, seal } from '@backhaul/queue';
import { type Logger, type Metrics, failpoint, pause } from '@backhaul/runtime';

/** What the bridge of one queue needs. */
export interface BridgeOptions {
  /** The work queue, such as `media`. */
  readonly queue: string;
  readonly decode: (message: RawMessage) => DecodedEvent | PoisonedMessage;
  /** The job that a routing key starts. */
  readonly jobOf: (routingKey: string) => JobDefinition | undefined;
  readonly jobs: Pick<Jobs, 'record'>;
  readonly deadLetters: Pick<DeadLetters, 'poison'>;
  readonly producer: Pick<Producer, 'addBatch' | 'missing'>;
  /** How many jobs of this name may travel in one Bull job. Default: none together. */
  readonly envelopeOf?: (name: string) => number;
  readonly count: BridgeCounter;
  readonly log: Logger;
  /** How long a batch is tried before it is given back. Default 10 s. */
  readonly patienceMs?: number;
}

/** Counts what became of messages. */
export type BridgeCounter = (routingKey: string, result: 'accepted' | 'repeated' | 'poison', count: number) => void;

interface Candidate {
  readonly delivery: Delivery;
  readonly job: NewJob;
}

/** `carrier` is the one on record, which may be an earlier run's. */
interface Recorded extends Candidate {
  readonly carrier: string | null;
}

/** What is kept of a poisoned body. */
const BODY_HEAD_BYTES = 8 * 1024;
/** Reasons for which the message itself may be good: all of it is kept, so that it can be published again. */
const KEPT_WHOLE = new Set(['delivery_limit', 'unstorable', 'id_conflict', 'unknown_type']);

/**
 * Takes a batch over: decode, validate, record, enqueue; the consumer acks
 * afterwards. Each step may be repeated without harm, so a crash anywhere in
 * between costs a redelivery and nothing else:
 *
 * | dies after | what happens |
 * |---|---|
 * | decoding | delivered again |
 * | recording | delivered again, found recorded and open, enqueued; or the reconciler enqueues it |
 * | enqueueing | delivered again, found recorded; the queue knows the job's id, or its envelope's |
 *
 * While Postgres or Redis is away it tries again for `patienceMs`, then gives
 * the batch back.
 */
export function createBridge(options: BridgeOptions): (batch: readonly Delivery[]) => Promise<BatchVerdict> {
  const patienceMs = options.patienceMs ?? 10_000;
  const envelopeOf = options.envelopeOf ?? (() => 1);

  return async (batch) => {
    const decodedJobs: (Candidate & { readonly alone: boolean })[] = [];
    const poison: PoisonMessage[] = [];
    for (const delivery of batch) {
      const decoded = options.decode(delivery);
      const definition = decoded.ok ? options.jobOf(delivery.routingKey) : undefined;
      if (decoded.ok && definition !== undefined) {
        decodedJobs.push({ delivery, job: toJob(decoded, definition), alone: definition.travelsAlone?.(decoded.payload) ?? false });
      } else
        poison.push(
          toPoison(options.queue, delivery, decoded.ok ? { ...decoded, reason: 'unknown_type', message: 'no job is defined for this event' } : decoded),
        );
    }
    const shared = decodedJobs.filter(({ alone }) => !alone);
    const sealed = seal(
      shared.map(({ job }) => job),
      envelopeOf,
    );
    let next = 0;
    const good = decodedJobs.map(({ delivery, job, alone }) => ({ delivery, job: alone ? job : (sealed[next++] ?? job) }));
    failpoint('bridge.decoded');

    const deadline = Date.now() + patienceMs;
    for (let delayMs = 50; ; delayMs = Math.min(2_000, delayMs * 2)) {
      try {
        await settle(good, poison);
        return 'ack';
      } catch (error) {
        if (!isTransient(error)) options.log.error('a batch failed for an unforeseen reason', { queue: options.queue, error });
        if (Date.now() + delayMs > deadline) {
          options.log.warn('a batch is given back', { queue: options.queue, messages: batch.length, error });
          return 'give_back';
        }
        await pause(delayMs);
      }
    }
  };

  async function settle(good: readonly Candidate[], poison: readonly PoisonMessage[]): Promise<void> {
    const { recorded, repeated, refused } = await record(good);
    failpoint('bridge.recorded');
    await options.producer.addBatch(options.queue, await toEnqueue(recorded));
    failpoint('bridge.enqueued');
    const dead = [...poison, ...refused];
    if (dead.length > 0) {
      await options.deadLetters.poison(dead);
      for (const message of dead) {
        options.log.warn('message is a dead letter', { queue: options.queue, messageId: message.messageId, reason: message.reason });
        options.count(message.routingKey, 'poison', 1);
      }
    }
    countAll(
      options.count,
      'accepted',
      recorded.map(({ delivery }) => delivery),
    );
    countAll(options.count, 'repeated', repeated);
  }

  /**
   * What was recorded now goes into its envelope. What an earlier run recorded
   * in another one is in the queue already if that one got there; if not, it
   * gets a Bull job of its own.
   */
  async function toEnqueue(recorded: readonly Recorded[]): Promise<JobReference[]> {
    const mine: JobReference[] = [];
    const others: Recorded[] = [];
    for (const entry of recorded) {
      if ((entry.job.carrier ?? null) === entry.carrier) mine.push(entry.job);
      else others.push(entry);
    }
    if (others.length === 0) return mine;
    const missing = await options.producer.missing(
      options.queue,
      others.map(({ job, carrier }) => ({ ...job, carrier })),
    );
    return [...mine, ...missing.map((job) => ({ ...job, carrier: null }))];
  }

  /** Records what is new; tells what to enqueue, and what must not be. */
  async function record(good: readonly Candidate[]): Promise<{ recorded: Recorded[]; repeated: Delivery[]; refused: PoisonMessage[] }> {
    const recorded: Recorded[] = [];
    const repeated: Delivery[] = [];
    const refused: PoisonMessage[] = [];
    if (good.length === 0) return { recorded, repeated, refused };
    let outcomes;
    try {
      outcomes = await options.jobs.record(good.map(({ job }) => job));
    } catch (error) {
      // A value that Postgres will never take (class 22: data exception) must not block its neighbours: find it by halving.
      if (sqlState(error)?.startsWith('22') !== true) throw error;
      const [only] = good;
      if (good.length === 1 && only !== undefined) {
        refused.push(
          toPoison(options.queue, only.delivery, {
            messageId: only.job.messageId,
            bodyHash: only.job.bodyHash,
            reason: 'unstorable',
            message: 'the database refuses a value of this message',
          }),
        );
        return { recorded, repeated, refused };
      }
      const middle = good.length >> 1;
      const [left, right] = [await record(good.slice(0, middle)), await record(good.slice(middle))];
      return {
        recorded: [...left.recorded, ...right.recorded],
        repeated: [...left.repeated, ...right.repeated],
        refused: [...left.refused, ...right.refused],
      };
    }
    good.forEach((entry, index) => {
      const outcome = outcomes[index];
      switch (outcome?.state) {
        case 'open':
          recorded.push({ delivery: entry.delivery, job: entry.job, carrier: outcome.carrier });
          break;
        case 'conflict':
          refused.push(
            toPoison(options.queue, entry.delivery, {
              messageId: entry.job.messageId,
              bodyHash: entry.job.bodyHash,
              reason: 'id_conflict',
              message: 'this message id was used before with another body; the first one counts',
            }),
          );
          break;
        case 'finished':
        case undefined:
          repeated.push(entry.delivery);
          break;
      }
    });
    return { recorded, repeated, refused };
  }
}

/** Once for each routing key of a batch: once for each message is half a microsecond each. */
function countAll(count: BridgeCounter, result: 'accepted' | 'repeated', deliveries: readonly Delivery[]): void {
  const counts = new Map<string, number>();
  for (const { routingKey } of deliveries) counts.set(routingKey, (counts.get(routingKey) ?? 0) + 1);
  for (const [routingKey, messages] of counts) count(routingKey, result, messages);
}

/** Wires the counter of `/metrics`. Unknown routing keys share one label: outsiders choose them. */
export function bridgeCounter(metrics: Metrics, knownKeys: ReadonlySet<string>): BridgeCounter {
  const events = metrics.counter('bridge_events_total', 'Messages taken from RabbitMQ, by what became of them', ['routing_key', 'result']);
  return (routingKey, result, count) => events.inc({ routing_key: knownKeys.has(routingKey) ? routingKey : 'unknown', result }, count);
}

/** A poisoned delivery as it is stored: its reason, its identity, and the head of its body. */
export function toPoison(queue: string, delivery: Delivery, why: { messageId: string; bodyHash: Buffer; reason: string; message: string }): PoisonMessage {
  return {
    messageId: why.messageId,
    queue,
    routingKey: delivery.routingKey.replaceAll('\u0000', '').slice(0, 255),
    reason: why.reason,
    message: why.message,
    bodyHead: KEPT_WHOLE.has(why.reason) ? delivery.body : delivery.body.subarray(0, BODY_HEAD_BYTES),
    bodyBytes: delivery.body.length,
    bodyHash: why.bodyHash,
  };
}

function toJob(decoded: DecodedEvent, definition: JobDefinition): NewJob {
  return {
    messageId: decoded.messageId,
    queue: definition.queue.name,
    name: definition.name,
    priority: typeof definition.priority === 'function' ? definition.priority(decoded.payload) : definition.priority,
    bodyHash: decoded.bodyHash,
    payloadJson: decoded.payloadJson,
    traceparent: decoded.traceparent,
  };
}

function isTransient(error: unknown): boolean {
  return error instanceof DatabaseUnavailable || error instanceof QueueUnavailable;
}
