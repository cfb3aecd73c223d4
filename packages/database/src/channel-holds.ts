import type { Database } from './database.ts';

/** A channel through which nothing is sent for now. */
export interface ChannelHold {
  readonly channel: string;
  /** For how much longer, by the database's clock. */
  readonly forMs: number;
  readonly reason: string;
}

/** Holds that every worker keeps. */
export interface ChannelHolds {
  /** Holds the channel from now on. A hold that lasts longer stays. */
  hold(channel: string, forMs: number, reason: string): Promise<void>;
  /** The holds that are not over. */
  current(): Promise<readonly ChannelHold[]>;
}

/** The table `backhaul.channel_holds`: a row per channel, however often it is held. */
export function createChannelHolds(database: Database): ChannelHolds {
  return {
    async hold(channel, forMs, reason) {
      await database.query(
        `INSERT INTO backhaul.channel_holds AS h (channel, held_until, reason) VALUES ($1, clock_timestamp() + $2 * interval '1 millisecond', $3)
         ON CONFLICT (channel) DO UPDATE SET held_until = excluded.held_until, reason = excluded.reason WHERE excluded.held_until > h.held_until`,
        [channel, forMs, reason],
      );
    },
    async current() {
      const { rows } = await database.query<ChannelHold>(
        `SELECT channel, (extract(epoch FROM held_until - clock_timestamp()) * 1000)::float8 AS "forMs", reason
         FROM backhaul.channel_holds WHERE held_until > clock_timestamp()`,
      );
      return rows;
    },
  };
}
