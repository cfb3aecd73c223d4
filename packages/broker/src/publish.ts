import { type Logger, withDeadline } from '@backhaul/runtime';
import type { ConfirmChannel } from 'amqplib';
import type { Connection } from './connection.ts';
import { BrokerUnavailable, Unroutable } from './failures.ts';

/** A message to publish. */
export interface Message {
  readonly routingKey: string;
  readonly body: Buffer;
  /** The key for deduplication: keep it when publishing again. */
  readonly messageId: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Publishes with confirms. */
export interface Publisher {
  /**
   * Resolves once the broker has the message safely.
   * @throws {BrokerUnavailable} no confirm within `timeoutMs` (default 5 s): it may or may not have been taken; publish again with the same id
   * @throws {Unroutable} when no queue is bound for the routing key
   */
  publish(message: Message): Promise<void>;
  close(): Promise<void>;
}

/** Makes a publisher on its own confirm channel, which is reopened after a loss. */
export function createPublisher(options: { connection: Connection; exchange: string; log: Logger; timeoutMs?: number }): Publisher {
  const timeoutMs = options.timeoutMs ?? 5_000;
  const returned = new Set<string>();
  /** Publishes whose confirm is awaited: a confirm that is lost with its channel would leave them open until the deadline. */
  const unconfirmed = new Set<(error: Error) => void>();
  let opening: Promise<ConfirmChannel> | undefined;

  const channel = () => {
    opening ??= open().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
  async function open(): Promise<ConfirmChannel> {
    const fresh = await options.connection.openConfirmChannel();
    fresh.on('error', (error) => options.log.warn('publishing channel failed', { error }));
    fresh.on('close', () => {
      opening = undefined;
      for (const reject of unconfirmed) reject(new Error('the channel closed before the confirm'));
    });
    // `mandatory` returns come before the confirm of the same message.
    fresh.on('return', (message: { properties: { messageId?: string } }) => returned.add(message.properties.messageId ?? ''));
    return fresh;
  }

  async function confirmed(open: ConfirmChannel, { routingKey, body, messageId, headers }: Message): Promise<void> {
    let settle: (error: Error) => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        settle = reject;
        unconfirmed.add(reject);
        open.publish(
          options.exchange,
          routingKey,
          body,
          { messageId, headers, persistent: true, mandatory: true, contentType: 'application/json' },
          (error: unknown) => (error ? reject(error instanceof Error ? error : new Error('the broker did not take the message')) : resolve()),
        );
      });
    } finally {
      unconfirmed.delete(settle);
    }
  }

  return {
    async publish({ routingKey, body, messageId, headers }) {
      try {
        await withDeadline(
          'publishing',
          timeoutMs,
          channel().then((open) => confirmed(open, { routingKey, body, messageId, headers: { ...headers } })),
        );
      } catch (error) {
        throw new BrokerUnavailable(error);
      }
      if (returned.delete(messageId)) throw new Unroutable(options.exchange, routingKey);
    },
    async close() {
      const open = await opening?.catch(() => undefined);
      await open?.close().catch(() => undefined);
    },
  };
}
