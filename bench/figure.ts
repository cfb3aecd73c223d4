import { cpus, release, totalmem } from 'node:os';

/** One result of a benchmark: the only thing that a benchmark writes to standard output, one per line. */
export interface Figure {
  /** Stable name, such as `bridge.recorded`. */
  readonly figure: string;
  /** The median of the samples. */
  readonly value: number;
  readonly unit: string;
  readonly samples: readonly number[];
  /** The figure that this one is held against, measured in the same run. */
  readonly baseline?: string;
  /** value ÷ the baseline's value. */
  readonly ratio?: number;
}

/** Collects a run's samples by figure, in rounds, so that figures that are compared were measured side by side. */
export interface Samples {
  add(figure: string, value: number): void;
  /** Prints a figure as one JSON line, with its ratio to the first baseline (the others go to standard error), and returns its median. */
  print(figure: string, unit: string, against?: readonly string[]): number;
}

/** Makes an empty collection. Progress goes to standard error. */
export function createSamples(): Samples {
  const samples = new Map<string, number[]>();
  const medianOf = (figure: string) => median(samples.get(figure) ?? []);
  return {
    add(figure, value) {
      samples.set(figure, [...(samples.get(figure) ?? []), round(value)]);
      process.stderr.write(`  ${figure} ${round(value)}\n`);
    },
    print(figure, unit, against = []) {
      const value = medianOf(figure);
      const own = samples.get(figure) ?? [];
      const ratios = against.map((baseline) => ({ baseline, ratio: round(value / medianOf(baseline)) }));
      for (const { baseline, ratio } of ratios) process.stderr.write(`${figure} is ${ratio} x ${baseline}\n`);
      // One line per figure; further ratios follow from the lines of the other figures.
      emit({ figure, value, unit, samples: own, ...ratios[0] });
      return value;
    },
  };
}

/** The middle value; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : round(((sorted[middle - 1] ?? Number.NaN) + upper) / 2);
}

/** The machine's shape, kept beside every result: figures of different shapes are not compared. */
export function machineShape(): Record<string, unknown> {
  const [cpu] = cpus();
  return { cores: cpus().length, cpu: cpu?.model ?? 'unknown', memoryGiB: Math.round(totalmem() / 1024 ** 3), kernel: release(), node: process.version };
}

function emit(figure: Figure): void {
  process.stdout.write(`${JSON.stringify(figure)}\n`);
}

function round(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 1_000) / 1_000;
}
