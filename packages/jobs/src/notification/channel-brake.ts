import type { Channel } from './policy/port.ts';

/** Stops a channel for every worker at once: what one of them is told by the provider, all of them heed. */
export interface ChannelBrake {
  /** Nothing is sent for this long; a longer hold stays. Does not throw: the answer that caused it is worth more. */
  hold(channel: Channel, forMs: number, reason: string): Promise<void>;
  /** Why and for how much longer nothing may be sent; undefined when it may. */
  held(channel: Channel): Promise<{ readonly forMs: number; readonly reason: string } | undefined>;
}
