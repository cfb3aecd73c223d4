import { type Logger, withDeadline } from '@backhaul/runtime';
import { type Channel, type ConfirmChannel, type RecoveringChannelModel, connect } from 'amqplib';
import { BrokerUnavailable } from './failures.ts';

/** A connection that comes back by itself. Use one for consuming and another for publishing: a broker short of memory stops reading from publishers. */
export interface Connection {
  /** Waits until there is a connection, then opens a channel on it. */
  openChannel(): Promise<Channel>;
  openConfirmChannel(): Promise<ConfirmChannel>;
  /** Whether there is a connection now. */
  readonly connected: boolean;
  /** Why the broker does not read from us now (memory or disk alarm), if so. */
  readonly blocked: string | undefined;
  close(): Promise<void>;
}

/** How a connection is made. */
export interface ConnectionOptions {
  readonly url: string;
  /** Shown in the broker's management page. */
  readonly name: string;
  readonly log: Logger;
  /** How often the first connection is tried before the start fails; later losses are retried for ever. Default 5, about 6 s. */
  readonly initialRetries?: number;
}

/**
 * Connects, and reconnects for ever after a loss (100 ms to 10 s, with jitter).
 *
 * @throws {BrokerUnavailable} when the first connection cannot be made: wrong address, credentials or vhost
 */
export async function createConnection(options: ConnectionOptions): Promise<Connection> {
  const { log } = options;
  let connected = false;
  let blocked: string | undefined;
  let model: RecoveringChannelModel;
  const address = new URL(options.url);
  // A dead peer is noticed after two missed heartbeats; without, after the kernel's eleven minutes.
  if (!address.searchParams.has('heartbeat')) address.searchParams.set('heartbeat', '15');
  // One frame is at most this large; the default of 64 MiB would let one hostile frame take that much memory.
  if (!address.searchParams.has('frameMax')) address.searchParams.set('frameMax', '131072');
  try {
    model = await connect(address.toString(), {
      clientProperties: { connection_name: options.name },
      timeout: 10_000,
      keepAlive: true,
      noDelay: true,
      recovery: { initialDelay: 100, maxDelay: 10_000, factor: 2, jitter: 0.3, initialMaxRetries: options.initialRetries ?? 5 },
    });
    connected = true;
  } catch (error) {
    throw new BrokerUnavailable(error);
  }
  model.on('connect', () => {
    connected = true;
    blocked = undefined;
    log.info('broker connection is back', { connection: options.name });
  });
  model.on('disconnect', (error) => {
    connected = false;
    log.warn('broker connection lost', { connection: options.name, error });
  });
  model.on('error', (error) => log.debug('broker connection error', { connection: options.name, error }));
  model.on('blocked', (reason) => {
    blocked = reason;
    log.warn('broker blocks publishers', { connection: options.name, reason });
  });
  model.on('unblocked', () => {
    blocked = undefined;
  });
  return {
    openChannel: () => model.createChannel(),
    openConfirmChannel: () => model.createConfirmChannel(),
    get connected() {
      return connected;
    },
    get blocked() {
      return blocked;
    },
    async close() {
      connected = false;
      await withDeadline('closing the broker connection', 3_000, model.close()).catch((error: unknown) =>
        log.warn('broker connection not closed cleanly', { error }),
      );
    },
  };
}
