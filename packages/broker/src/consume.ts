import { type Logger, pause, withDeadline } from '@backhaul/runtime';
import type { Channel, ConsumeMessage } from 'amqplib';
import type { Connection } from './connection.ts';

/** A message as it came. */
export interface Delivery {
  readonly routingKey: string;
  readonly body: Buffer;
  /** The AMQP message id, if the publisher set one. */
  readonly messageId: string | undefined;
  readonly contentEncoding: string | undefined;
  readonly redelivered: boolean;
  /** Header values are whatever the publisher sent: check before use. */
  readonly headers: Readonly<Record<string, unknown>>;
}

/** What became of a batch. */
export type BatchVerdict =
  /** Everything in it is settled: ack it. */
  | 'ack'
  /** It could not be settled for reasons outside of it: give it back, stop consuming, and wait for the gate. */
  | 'give_back';

/** How a queue is consumed. */
export interface ConsumerOptions {
  readonly connection: Connection;
  /** The broker's name of the queue. */
  readonly queue: string;
  /** Declares what is consumed; run on each new channel before consuming. */
  readonly declare: (channel: Channel) => Promise<void>;
  /** Messages per batch at most. */
  readonly batchSize: number;
  /** How long the first message of a batch waits for company while other batches are in flight. An idle consumer never waits. */
  readonly lingerMs: number;
  readonly batchesInFlight: number;
  /** Resolves when the batch is settled or to be given back; a throw counts as `give_back`. */
  readonly handle: (batch: readonly Delivery[]) => Promise<BatchVerdict>;
  /** Resolves when consuming makes sense: waited for at the start and after each `give_back`. */
  readonly gate: (signal: AbortSignal) => Promise<void>;
  /** Says why consuming must pause although nothing failed (a high-water mark), or undefined. Asked before each batch. */
  readonly pressure?: () => Promise<string | undefined>;
  readonly log: Logger;
}

/** A running consumer. */
export interface Consumer {
  /** consuming, or why not. */
  readonly state: 'starting' | 'consuming' | 'paused' | 'disconnected' | 'stopped';
  /** Messages taken from the broker and not acked yet. */
  readonly unacked: number;
  /** Stops taking messages, waits for the batches in flight, gives the rest back. */
  close(): Promise<void>;
}

/** AMQP counts prefetched messages in 16 bits; more could not even be asked for. */
const MAX_PREFETCH = 65_535;

/** Holds no messages but the last: in flight they would outlive the young generation, which is what their collection costs most for. */
interface Batch {
  readonly size: number;
  readonly last: ConsumeMessage | undefined;
  verdict: BatchVerdict | undefined;
}

/**
 * Consumes a queue in batches, several in flight, acking each batch only
 * after it and every earlier one is settled (one cumulative ack per batch).
 *
 * It is one loop: open a channel, declare, consume until something ends the
 * channel, start again. A lost connection, a channel closed by the broker and
 * a cancelled consumer are the same event here. What was not acked is
 * delivered again by the broker: the handler must tolerate repeats. Acks go
 * only to the channel that delivered.
 */
export function consumeBatches(options: ConsumerOptions): Consumer {
  const stop = new AbortController();
  let state: Consumer['state'] = 'starting';
  let unacked = 0;

  async function run(): Promise<void> {
    let failures = 0;
    while (!stop.signal.aborted) {
      try {
        state = state === 'starting' ? 'starting' : 'paused';
        await options.gate(stop.signal);
        if (stop.signal.aborted) break;
        if (!options.connection.connected) state = 'disconnected';
        const channel = await untilStopped(options.connection.openChannel());
        if (channel === undefined) break;
        const startedAt = Date.now();
        await session(channel);
        failures = Date.now() - startedAt > 10_000 ? 0 : failures + 1;
      } catch (error) {
        failures += 1;
        options.log.warn('consuming ended', { queue: options.queue, error });
      }
      unacked = 0;
      // A queue that cannot be declared or a handler that fails at once must not spin.
      await pause(Math.min(5_000, 50 * 2 ** Math.min(failures, 7)), stop.signal);
    }
    state = 'stopped';
  }

  /** openChannel waits for ever while the broker is away; a stop must not. */
  function untilStopped<Value>(work: Promise<Value>): Promise<Value | undefined> {
    return Promise.race([
      work,
      new Promise<undefined>((resolve) => {
        stop.signal.addEventListener('abort', () => resolve(undefined), { once: true });
      }),
    ]);
  }

  /** One channel's life. Returns when it ended, for whatever reason; throws if it could not begin. */
  async function session(channel: Channel): Promise<void> {
    const buffer: ConsumeMessage[] = [];
    const inFlight: Batch[] = [];
    let over: string | undefined;
    let lingering: NodeJS.Timeout | undefined;
    let underPressure = false;
    let finish: () => void = () => undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const end = (why: string) => {
      if (over !== undefined) return;
      over = why;
      clearTimeout(lingering);
      finish();
    };
    // Attached first: an error before `consume` resolves would otherwise end the process.
    channel.on('error', (error) => options.log.warn('consuming channel failed', { queue: options.queue, error }));
    channel.on('close', () => end('channel closed'));
    const onStop = () => end('stopping');
    stop.signal.addEventListener('abort', onStop, { once: true });

    const count = () => {
      unacked = buffer.length + inFlight.reduce((sum, batch) => sum + batch.size, 0);
    };

    /** Acks from the oldest batch on, in order: one cumulative ack covers all that came before. */
    function settle(): void {
      for (let head = inFlight[0]; head?.verdict !== undefined; head = inFlight[0]) {
        if (head.verdict === 'give_back') return end('a batch was given back');
        inFlight.shift();
        if (head.last !== undefined) channel.ack(head.last, true);
      }
      count();
      pump();
    }

    function pump(): void {
      while (over === undefined && !underPressure && buffer.length > 0 && inFlight.length < options.batchesInFlight) {
        const full = buffer.length >= options.batchSize;
        if (!full && inFlight.length > 0) {
          // Set by the first message that waits, not again by each that follows: or a steady trickle would wait for ever.
          lingering ??= setTimeout(launch, options.lingerMs);
          return;
        }
        launch();
      }
    }

    function launch(): void {
      clearTimeout(lingering);
      lingering = undefined;
      // By the timer as well: what came in while somebody waited for company must not pass the mark.
      if (over !== undefined || underPressure || buffer.length === 0 || inFlight.length >= options.batchesInFlight) return;
      const messages = buffer.splice(0, options.batchSize);
      const batch: Batch = { size: messages.length, last: messages.at(-1), verdict: undefined };
      inFlight.push(batch);
      count();
      void settleBatch(batch, messages.map(toDelivery));
    }

    async function settleBatch(batch: Batch, deliveries: readonly Delivery[]): Promise<void> {
      try {
        batch.verdict = await options.handle(deliveries);
      } catch (error) {
        options.log.error('batch handler failed', { queue: options.queue, error });
        batch.verdict = 'give_back';
      }
      try {
        if (over === undefined || over === 'stopping') settle();
      } catch (error) {
        // amqplib throws when the channel closed under our feet; the broker delivers again.
        end(`ack failed: ${error instanceof Error ? error.message : String(error)}`);
      }
      await relieve();
      if (over !== undefined) finish();
    }

    /** Above the high-water mark: hold what was taken, take no more, and look again twice a second. */
    async function relieve(): Promise<void> {
      if (options.pressure === undefined || underPressure || over !== undefined) return;
      // Set before the first await, so that two batches that end together do not both start the loop.
      underPressure = true;
      let pausedFor: string | undefined;
      try {
        for (let reason = await options.pressure(); reason !== undefined && over === undefined; reason = await options.pressure()) {
          if (pausedFor === undefined) options.log.info('consuming paused', { queue: options.queue, reason });
          pausedFor = reason;
          state = 'paused';
          await pause(500, stop.signal);
        }
      } catch (error) {
        end(`pressure cannot be told: ${error instanceof Error ? error.message : String(error)}`);
      }
      underPressure = false;
      if (over !== undefined) return;
      if (pausedFor !== undefined) options.log.info('consuming resumed', { queue: options.queue });
      state = 'consuming';
      pump();
    }

    try {
      await withDeadline('declaring the topology', 10_000, options.declare(channel));
      await channel.prefetch(Math.min(MAX_PREFETCH, options.batchSize * (options.batchesInFlight + 1)));
      const { consumerTag } = await withDeadline(
        'starting to consume',
        10_000,
        channel.consume(options.queue, (message) => {
          // null: the broker cancelled the consumer (queue deleted, failover). The same as a closed channel.
          if (message === null) return end('the broker cancelled the consumer');
          buffer.push(message);
          count();
          pump();
        }),
      );
      state = 'consuming';
      options.log.info('consuming', { queue: options.queue });
      // The mark may be passed already when the process starts.
      void relieve();
      await finished;
      if (over === 'stopping') await drain(channel, consumerTag);
    } finally {
      stop.signal.removeEventListener('abort', onStop);
      end('over');
      options.log.info('consuming ended', { queue: options.queue, reason: over });
      // Closing gives every unacked message back to the broker.
      await withDeadline('closing the channel', 2_000, channel.close()).catch(() => undefined);
    }

    /** The stop: no new messages, the batches in flight are finished and acked, the buffer goes back. */
    async function drain(open: Channel, consumerTag: string): Promise<void> {
      await withDeadline('cancelling the consumer', 2_000, open.cancel(consumerTag)).catch(() => undefined);
      const deadline = Date.now() + 10_000;
      while (inFlight.some((batch) => batch.verdict === undefined) && Date.now() < deadline) {
        await new Promise<void>((resolve) => {
          finish = resolve;
          setTimeout(resolve, 200);
        });
      }
    }
  }

  const running = run();
  return {
    get state() {
      return state;
    },
    get unacked() {
      return unacked;
    },
    async close() {
      stop.abort();
      await running;
    },
  };
}

function toDelivery(message: ConsumeMessage): Delivery {
  const { messageId, contentEncoding, headers } = message.properties as { messageId?: unknown; contentEncoding?: unknown; headers?: Record<string, unknown> };
  return {
    routingKey: message.fields.routingKey,
    body: message.content,
    messageId: typeof messageId === 'string' && messageId !== '' ? messageId : undefined,
    contentEncoding: typeof contentEncoding === 'string' ? contentEncoding : undefined,
    redelivered: message.fields.redelivered,
    headers: headers ?? {},
  };
}
