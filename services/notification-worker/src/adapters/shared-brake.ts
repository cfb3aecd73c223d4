import type { ChannelHolds } from '@backhaul/database';
import type { ChannelBrake } from '@backhaul/jobs/notification';
import type { Logger } from '@backhaul/runtime';

/** How old what is known of other workers' holds may be. Asked before every send, so it must cost none a statement. */
const FRESH_MS = 1_000;
/** A hold that ends this much later than one that is known changes nothing. */
const SAME_MS = 1_000;

interface Hold {
  /** By `performance.now()`. */
  readonly until: number;
  readonly reason: string;
}

/**
 * The brake that all workers share through Postgres. A worker knows its own
 * holds at once, and those of the others a second later.
 */
export function createSharedBrake({ holds, log }: { holds: ChannelHolds; log: Logger }): ChannelBrake {
  /** Holds of this process that are not known to be in Postgres: they count all the same. */
  const own = new Map<string, Hold>();
  let shared = new Map<string, Hold>();
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;

  async function read(): Promise<void> {
    const rows = await holds.current();
    readAt = performance.now();
    shared = new Map(rows.map(({ channel, forMs, reason }) => [channel, { until: readAt + forMs, reason }]));
  }

  /** The hold that ends last, if one is not over. */
  function known(channel: string): Hold | undefined {
    const mine = own.get(channel);
    const told = shared.get(channel);
    const last = mine !== undefined && mine.until >= (told?.until ?? 0) ? mine : told;
    return last !== undefined && last.until > performance.now() ? last : undefined;
  }

  return {
    async hold(channel, forMs, reason) {
      const hold = { until: performance.now() + forMs, reason };
      const before = known(channel);
      // Hundreds of requests that were under way are refused alike.
      if (before !== undefined && before.until + SAME_MS >= hold.until) return;
      own.set(channel, hold);
      log.warn('the channel is held: nothing is sent through it', { channel, forMs, reason });
      try {
        await holds.hold(channel, forMs, reason);
        await read();
        if (own.get(channel) === hold) own.delete(channel);
      } catch (error) {
        log.warn('the other workers could not be told to hold the channel', { channel, error });
      }
    },
    async held(channel) {
      if (performance.now() - readAt > FRESH_MS) {
        reading ??= read().finally(() => {
          reading = undefined;
        });
        await reading;
      }
      const hold = known(channel);
      return hold === undefined ? undefined : { forMs: hold.until - performance.now(), reason: hold.reason };
    },
  };
}
