import { pause } from '@backhaul/runtime';
import type { Samples } from '../figure.ts';
import { cpuOf } from './cpu.ts';

/** One way to do the same work. */
export interface Contender {
  readonly name: string;
  /** Jobs of one round: enough for the CPU of children to be told in steps of 10 ms. */
  readonly jobs: number;
  /** Readies so many jobs, which costs nothing, and returns what does. */
  prepare(jobs: number): Promise<readonly Job[]>;
}

/** One job. */
export type Job = () => Promise<void>;

/** A contender whose jobs need no readying. */
export function always(name: string, jobs: number, job: Job): Contender {
  return { name, jobs, prepare: (count) => Promise.resolve(Array.from({ length: count }, () => job)) };
}

/** What a job leaves to be done after its end, such as an answer's last bytes, is done within this. */
const SETTLED_MS = 5;

/** CPU milliseconds per job, one for each round, by contender. */
export type Costs = ReadonlyMap<string, readonly number[]>;

/**
 * Runs contenders in turns, job by job, each round beginning with another one,
 * so that what changes with time (clock, neighbours, what is in the caches)
 * meets all of them alike. The costs go to the figures `media.cpu_ms.<name>`.
 */
export async function contest(samples: Samples, rounds: number, contenders: readonly Contender[]): Promise<Costs> {
  const costs = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % contenders.length;
    const inTurn = [];
    for (const { name, jobs, prepare } of [...contenders.slice(first), ...contenders.slice(0, first)])
      inTurn.push({ name, jobs: await prepare(jobs), sumMs: 0 });
    const turns = Math.max(...inTurn.map(({ jobs }) => jobs.length));
    for (let turn = 0; turn < turns; turn += 1) {
      for (const contender of inTurn) {
        const job = contender.jobs[turn];
        if (job === undefined) continue;
        contender.sumMs += await cpuOf(async () => {
          await job();
          await pause(SETTLED_MS);
        });
      }
    }
    for (const { name, jobs, sumMs } of inTurn) {
      costs.get(name)?.push(sumMs / jobs.length);
      samples.add(`media.cpu_ms.${name}`, sumMs / jobs.length);
    }
  }
  for (const { name } of contenders) samples.print(`media.cpu_ms.${name}`, 'ms');
  return costs;
}

/**
 * A figure: how many times our CPU the baseline takes, round by round.
 * @param most more would mean that not all of our CPU was counted
 */
export function compare(samples: Samples, figure: string, costs: Costs, baseline: string, ours: string, most = Number.POSITIVE_INFINITY): void {
  const own = costs.get(ours) ?? [];
  for (const [round, cost] of (costs.get(baseline) ?? []).entries()) samples.add(figure, cost / (own[round] ?? Number.NaN));
  const value = samples.print(figure, 'times');
  if (!(value <= most)) throw new Error(`${figure} is ${value}: the job cannot do the same work for less, so not all of its CPU was counted`);
}
