import type { Redis } from 'ioredis';
import { HELD_LUA } from './held.ts';

/** A job as it is written to Redis. */
export interface BullEntry {
  readonly id: string;
  readonly name: string;
  /** JSON. */
  readonly data: string;
  /** BullMQ's priority: smaller first, from 1. */
  readonly priority: number;
}

/**
 * Adds a whole batch in one script call, with exactly the effect of BullMQ's
 * `addBulk` for prioritised jobs with an id of their own (its
 * addPrioritizedJob-9.lua without parents, delays and deduplication keys).
 *
 * Why not `addBulk`: it runs one script per job, which costs more CPU in Node
 * and in Redis than everything else the bridge does together (bench/bridge.ts).
 * The price is that BullMQ's layout is known here; add-batch.int.test.ts
 * compares every key and every event with those of `addBulk`, so that an
 * upgrade that changes the layout fails there.
 */
const SCRIPT = `${HELD_LUA}
local marker, meta, idCounter, prioritized, active, events, priorityCounter = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local prefix, timestamp = ARGV[1], ARGV[2]
local jobs = cjson.decode(ARGV[3])
local call = redis.call
local maxEvents = call('HGET', meta, 'opts.maxLenEvents')
if not maxEvents then
  maxEvents = 10000
  call('HSET', meta, 'opts.maxLenEvents', maxEvents)
end
call('INCRBY', idCounter, #jobs)
local fresh = {}
for index = 1, #jobs do
  local job = jobs[index]
  local id, key = job[1], prefix .. job[1]
  if call('EXISTS', key) == 1 then
    call('XADD', events, 'MAXLEN', '~', maxEvents, '*', 'event', 'duplicated', 'jobId', id)
  else
    call('HMSET', key, 'name', job[2], 'data', job[3], 'opts', job[5], 'timestamp', timestamp, 'delay', 0, 'priority', job[4])
    call('XADD', events, '*', 'event', 'added', 'jobId', id, 'name', job[2])
    call('XADD', events, 'MAXLEN', '~', maxEvents, '*', 'event', 'waiting', 'jobId', id)
    fresh[#fresh + 1] = job
  end
end
local added = #fresh
if added > 0 then
  local counter = call('INCRBY', priorityCounter, added) - added
  for from = 1, added, 1000 do
    local members = {}
    for index = from, math.min(from + 999, added) do
      members[#members + 1] = fresh[index][4] * 0x100000000 + (counter + index) % 0x100000000
      members[#members + 1] = fresh[index][1]
    end
    call('ZADD', prioritized, unpack(members))
  end
  local limits = call('HMGET', meta, 'paused', 'concurrency')
  if not limits[1] and not (limits[2] and call('LLEN', active) >= tonumber(limits[2])) then
    call('ZADD', marker, 0, '0')
  end
end
local counts = held(prefix, 64)
return { added, counts[1] + counts[2] + counts[3] }
`;

type WithAddBatch = Redis & { backhaulAddBatch(...args: string[]): Promise<[added: number, depth: number]> };

/** Teaches a connection the script. */
export function defineAddBatch(redis: Redis): void {
  redis.defineCommand('backhaulAddBatch', { numberOfKeys: 7, lua: SCRIPT });
}

/** Adds the entries to the queue `<prefix>:<queue>`; those whose id is there already stay as they are. Returns how many were new, and how many messages the queue holds now. */
export async function addBatch(
  redis: Redis,
  prefix: string,
  queue: string,
  entries: readonly BullEntry[],
  now = Date.now(),
): Promise<{ added: number; depth: number }> {
  const base = `${prefix}:${queue}:`;
  const jobs = JSON.stringify(
    entries.map(({ id, name, data, priority }) => [id, name, data, priority, `{"priority":${priority},"jobId":"${id}","attempts":0}`]),
  );
  const [added, depth] = await (redis as WithAddBatch).backhaulAddBatch(
    `${base}marker`,
    `${base}meta`,
    `${base}id`,
    `${base}prioritized`,
    `${base}active`,
    `${base}events`,
    `${base}pc`,
    base,
    String(now),
    jobs,
  );
  return { added, depth };
}
