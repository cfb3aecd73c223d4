import type { Samples } from '../figure.ts';
import { cpuOf } from './cpu.ts';

/** One way to do the same work. */
export interface Contender {
  readonly name: string;
  /** Jobs of one batch: enough for the CPU of children to be told in steps of 10 ms. */
  readonly jobs: number;
  /** Readies a batch, which costs nothing, and returns what does. */
  prepare(jobs: number): Promise<() => Promise<void>>;
}

/** CPU milliseconds per job, one for each round, by contender. */
export type Costs = ReadonlyMap<string, readonly number[]>;

/**
 * Runs contenders side by side, in rounds that each begin with another one,
 * so that what changes with time (clock, neighbours) meets all of them.
 * The costs go to the figures `media.cpu_ms.<name>`.
 */
export async function contest(samples: Samples, rounds: number, contenders: readonly Contender[]): Promise<Costs> {
  const costs = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % contenders.length;
    for (const { name, jobs, prepare } of [...contenders.slice(first), ...contenders.slice(0, first)]) {
      const run = await prepare(jobs);
      const cost = (await cpuOf(run)) / jobs;
      costs.get(name)?.push(cost);
      samples.add(`media.cpu_ms.${name}`, cost);
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
