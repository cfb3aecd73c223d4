import type { Publisher } from '@backhaul/broker';
import type { DeadLetters } from '@backhaul/database';
import type { Producer } from '@backhaul/queue';
import type { Logger } from '@backhaul/runtime';
import { bodyOf } from './body.ts';

/** What became of a dead letter that was tried again. */
export type Replayed =
  /** A job that failed for good is open again. `inRedis` is false when Redis was away: the bridge's reconciler adds it. */
  | { readonly state: 'queued'; readonly messageId: string; readonly queue: string; readonly inRedis: boolean }
  /** A message that never became a job is on the exchange again; whether it is understood this time, its message id tells. */
  | { readonly state: 'published'; readonly messageId: string; readonly routingKey: string };

/** The dead letter cannot be tried again, and why. Nothing was changed. */
export class ReplayRefused extends Error {
  readonly code: 'not_found' | 'already_retried' | 'not_dead' | 'body_truncated' | 'no_routing_key' | 'unroutable';

  constructor(code: ReplayRefused['code'], message: string) {
    super(message);
    this.name = 'ReplayRefused';
    this.code = code;
  }
}

/** What replaying needs. The connections are asked for when they are needed: most dead letters need only one of them. */
export interface ReplayOptions {
  readonly deadLetters: Pick<DeadLetters, 'find' | 'reopen' | 'markRetried'>;
  readonly producer: () => Promise<Pick<Producer, 'addBatch'>>;
  readonly publisher: () => Promise<Pick<Publisher, 'publish'>>;
  readonly log: Logger;
}

/**
 * Tries one dead letter again.
 *
 * @throws {ReplayRefused} there is no such dead letter, it was retried before, or it cannot be
 * @throws {DatabaseUnavailable} nothing was changed
 * @throws {BrokerUnavailable} the message may or may not have been taken; trying again is harmless
 */
export type Replay = (id: number) => Promise<Replayed>;

/**
 * Makes the one way in which dead letters are tried again.
 *
 * A worker's dead letter: the job's row is opened again, then the job is added
 * to its queue. In this order a crash between the two leaves an open row,
 * which the reconciler adds; the other order could run a job that is closed.
 *
 * A bridge's dead letter: its body is published again under the same message
 * id, so that it is the same message everywhere. Only if all of it was kept.
 */
export function createReplay(options: ReplayOptions): Replay {
  const { deadLetters, log } = options;
  return async (id) => {
    const letter = await deadLetters.find(id);
    if (letter === undefined) throw new ReplayRefused('not_found', `there is no dead letter ${id}`);
    if (letter.retriedAt !== null)
      throw new ReplayRefused('already_retried', `dead letter ${id} was tried again at ${letter.retriedAt.toISOString()} and has not died since`);

    if (letter.source === 'worker') {
      const job = await deadLetters.reopen(id);
      if (job === undefined) throw new ReplayRefused('not_dead', `the job ${letter.messageId} of dead letter ${id} is not dead any more`);
      const { messageId, queue } = job;
      try {
        await (await options.producer()).addBatch(queue, [job]);
        return { state: 'queued', messageId, queue, inRedis: true };
      } catch (error) {
        log.warn('the job is open again but not in Redis yet: the reconciler will add it', { messageId, queue, error });
        return { state: 'queued', messageId, queue, inRedis: false };
      }
    }

    const { messageId, routingKey, bodyHead, seen } = letter;
    const body = bodyOf(letter);
    if (bodyHead === null || body?.complete !== true) {
      throw new ReplayRefused(
        'body_truncated',
        `of the ${body?.sizeBytes ?? 0} bytes of message ${messageId} only the first ${bodyHead?.length ?? 0} were kept: its sender must publish it again`,
      );
    }
    if (routingKey === null || routingKey === '')
      throw new ReplayRefused('no_routing_key', `message ${messageId} came without a routing key: its sender must publish it again`);
    try {
      await (await options.publisher()).publish({ routingKey, body: bodyHead, messageId });
    } catch (error) {
      if ((error as { code?: unknown }).code === 'unroutable')
        throw new ReplayRefused('unroutable', `no queue takes the routing key ${routingKey} of dead letter ${id}`);
      throw error;
    }
    // The bridge may have refused it again by now: `seen` keeps this from closing what it just opened.
    await deadLetters.markRetried(id, seen);
    return { state: 'published', messageId, routingKey };
  };
}
