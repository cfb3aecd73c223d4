import type { Redis } from 'ioredis';

/** Messages in a queue, by what their Bull jobs are doing. */
export interface Held {
  /** Could start now. */
  readonly waiting: number;
  readonly active: number;
  /** Not due yet. */
  readonly delayed: number;
}

/**
 * Lua: how many messages the Bull jobs of a queue carry; see `messagesIn`.
 * Up to `most` Bull jobs in a state are counted one by one; beyond that a
 * sample of so many stands for all, so that Redis is never held up by it.
 */
export const HELD_LUA = `
local function messagesIn(ids)
  local sum = 0
  for index = 1, #ids do sum = sum + tonumber(string.match(ids[index], '^e(%d+)-') or 1) end
  return sum
end
local function estimate(count, ids)
  if #ids == 0 then return 0 end
  return math.floor(messagesIn(ids) * count / #ids + 0.5)
end
local function held(prefix, most)
  local wait, active = redis.call('LLEN', prefix .. 'wait'), redis.call('LLEN', prefix .. 'active')
  local prioritized, delayed = redis.call('ZCARD', prefix .. 'prioritized'), redis.call('ZCARD', prefix .. 'delayed')
  return {
    estimate(wait, redis.call('LRANGE', prefix .. 'wait', 0, most - 1)) + estimate(prioritized, redis.call('ZRANDMEMBER', prefix .. 'prioritized', most)),
    estimate(active, redis.call('LRANGE', prefix .. 'active', 0, most - 1)),
    estimate(delayed, redis.call('ZRANDMEMBER', prefix .. 'delayed', most)),
  }
end
`;

/** A queue of more Bull jobs than this is counted by a sample; it holds up to a million messages. */
const COUNTED = 5_000;

type WithHeld = Redis & { backhaulHeld(base: string): Promise<[waiting: number, active: number, delayed: number]> };

/** Counts the messages in the queue `<prefix>:<queue>`; exact up to 5,000 Bull jobs in a state. */
export async function heldIn(redis: Redis, prefix: string, queue: string): Promise<Held> {
  if (!('backhaulHeld' in redis)) redis.defineCommand('backhaulHeld', { numberOfKeys: 1, lua: `${HELD_LUA} return held(KEYS[1], ${COUNTED})` });
  const [waiting, active, delayed] = await (redis as WithHeld).backhaulHeld(`${prefix}:${queue}:`);
  return { waiting, active, delayed };
}
