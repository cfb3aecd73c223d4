import type { DeadLetters } from '@backhaul/database';
import type { Inspector, QueueFigures } from '@backhaul/queue';
import { type Logger, type Metrics, withDeadline } from '@backhaul/runtime';

/** What the figures are made from. */
export interface FleetMetricsOptions {
  readonly metrics: Metrics;
  readonly inspector: Pick<Inspector, 'all'>;
  readonly deadLetters: Pick<DeadLetters, 'counts'>;
  readonly log: Logger;
  /** The longest that one look may take; below the scraper's own limit (10 s by default in Prometheus). Default 2 s. */
  readonly timeoutMs?: number;
  /** How long a look serves: the gauges of one scrape share it. Default 1 s. */
  readonly maxAgeMs?: number;
}

/**
 * The queues' state as gauges, among them what the autoscalers follow.
 *
 * When Redis or Postgres does not answer, its gauges are absent and
 * `backhaul_ops_source_up` is 0. Absent, not 0 and not the last value: an
 * autoscaler that is told 0 removes the workers that the backlog will need,
 * one without a figure leaves things as they are.
 */
export function exportFleetMetrics(options: FleetMetricsOptions): void {
  const { metrics, log, timeoutMs = 2_000, maxAgeMs = 1_000 } = options;
  const queues = sharedLook('queue figures', () => options.inspector.all(), { timeoutMs, maxAgeMs, log });
  const dead = sharedLook('dead letters', () => options.deadLetters.counts(), { timeoutMs, maxAgeMs, log });

  const perQueue = <Label extends string>(
    name: string,
    help: string,
    labels: readonly Label[],
    set: (gauge: { set(labels: Partial<Record<Label, string>>, value: number): void }, figures: QueueFigures) => void,
  ) =>
    metrics.gauge(name, help, labels, async (gauge) => {
      const figures = await queues();
      // Without the reset the last figures before the outage would be served for ever.
      gauge.reset();
      for (const each of figures ?? []) set(gauge, each);
    });

  perQueue(
    'worker_desired_replicas',
    'Worker processes that would start every waiting job within the target latency; what the autoscalers follow',
    ['queue'],
    (gauge, { queue, desiredWorkers }) => gauge.set({ queue }, desiredWorkers),
  );
  perQueue('queue_jobs', 'Jobs in Redis', ['queue', 'state'], (gauge, { queue, waiting, active, delayed }) => {
    for (const [state, count] of Object.entries({ waiting, active, delayed })) gauge.set({ queue, state }, count);
  });
  perQueue('queue_oldest_waiting_age_seconds', 'How long the longest waiting job has been waiting', ['queue'], (gauge, { queue, oldestWaitingSeconds }) =>
    gauge.set({ queue }, oldestWaitingSeconds),
  );
  metrics.gauge('dead_letters_open', 'Dead letters that nobody has tried again', ['queue', 'reason'], async (gauge) => {
    const counts = await dead();
    gauge.reset();
    for (const { queue, reason, count } of counts ?? []) gauge.set({ queue, reason }, count);
  });
  metrics.gauge(
    'ops_source_up',
    'Whether the source of these figures answered: redis for the queues, postgres for the dead letters',
    ['source'],
    async (gauge) => {
      gauge.set({ source: 'redis' }, (await queues()) === undefined ? 0 : 1);
      gauge.set({ source: 'postgres' }, (await dead()) === undefined ? 0 : 1);
    },
  );
}

/** A look that many may take at once and that is taken anew after `maxAgeMs`; undefined when it failed. It never rejects and never takes longer than its time. */
function sharedLook<Answer>(
  what: string,
  look: () => Promise<Answer>,
  options: { timeoutMs: number; maxAgeMs: number; log: Logger },
): () => Promise<Answer | undefined> {
  let current: Promise<Answer | undefined> | undefined;
  let takenAt = 0;
  let away = false;
  return () => {
    if (current !== undefined && performance.now() - takenAt < options.maxAgeMs) return current;
    takenAt = performance.now();
    current = withDeadline(what, options.timeoutMs, look()).then(
      (answer) => {
        away = false;
        return answer;
      },
      (error: unknown) => {
        // Once per outage: a scrape comes every few seconds.
        if (!away) options.log.warn('no figures for the scrape', { what, error });
        away = true;
        return undefined;
      },
    );
    return current;
  };
}
