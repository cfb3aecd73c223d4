import { monitorEventLoopDelay } from 'node:perf_hooks';
import { cpus, freemem, loadavg, totalmem } from 'node:os';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** A process's Prometheus instruments. Label values must come from closed sets: an id as a label grows the registry for ever. */
export interface Metrics {
  readonly registry: Registry;
  counter<Label extends string>(name: string, help: string, labels?: readonly Label[]): Counter<Label>;
  /** A gauge; `collect`, if given, runs at each scrape to set it. */
  gauge<Label extends string>(name: string, help: string, labels?: readonly Label[], collect?: (gauge: Gauge<Label>) => void | Promise<void>): Gauge<Label>;
  /** A histogram of seconds. */
  seconds<Label extends string>(name: string, help: string, labels?: readonly Label[], buckets?: readonly number[]): Histogram<Label>;
  /** The figures behind `/metrics/system`. */
  system(): SystemFigures;
}

/** One moment of the process and its machine. */
export interface SystemFigures {
  readonly uptimeSeconds: number;
  readonly memory: { readonly rssBytes: number; readonly heapUsedBytes: number; readonly heapTotalBytes: number; readonly externalBytes: number };
  readonly cpu: { readonly userSeconds: number; readonly systemSeconds: number };
  readonly eventLoop: { readonly meanMs: number; readonly p99Ms: number; readonly maxMs: number };
  readonly host: { readonly cores: number; readonly load1: number; readonly freeBytes: number; readonly totalBytes: number };
}

const LATENCY_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300] as const;

/** Makes the instruments of one process. Every name is prefixed `backhaul_`; every figure carries `service`. */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const registers = [registry];
  return {
    registry,
    counter: (name, help, labels = []) => new Counter({ name: `backhaul_${name}`, help, labelNames: [...labels], registers }),
    gauge: (name, help, labels = [], collect) =>
      new Gauge({
        name: `backhaul_${name}`,
        help,
        labelNames: [...labels],
        registers,
        ...(collect === undefined
          ? {}
          : {
              async collect() {
                await collect(this);
              },
            }),
      }),
    seconds: (name, help, labels = [], buckets = LATENCY_BUCKETS_SECONDS) =>
      new Histogram({ name: `backhaul_${name}`, help, labelNames: [...labels], buckets: [...buckets], registers }),
    system() {
      const memory = process.memoryUsage();
      const usage = process.cpuUsage();
      const toMs = (nanoseconds: number) => (Number.isFinite(nanoseconds) ? Math.round(nanoseconds / 1e4) / 100 : 0);
      return {
        uptimeSeconds: Math.round(process.uptime()),
        memory: { rssBytes: memory.rss, heapUsedBytes: memory.heapUsed, heapTotalBytes: memory.heapTotal, externalBytes: memory.external },
        cpu: { userSeconds: usage.user / 1e6, systemSeconds: usage.system / 1e6 },
        eventLoop: { meanMs: toMs(delay.mean), p99Ms: toMs(delay.percentile(99)), maxMs: toMs(delay.max) },
        host: { cores: cpus().length, load1: loadavg()[0] ?? 0, freeBytes: freemem(), totalBytes: totalmem() },
      };
    },
  };
}
