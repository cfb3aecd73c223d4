import type { QueueFigures } from '@backhaul/queue';
import { createMetrics, silentLogger } from '@backhaul/runtime';
import { expect, test } from 'vitest';
import { exportFleetMetrics } from './fleet-metrics.ts';

const media: QueueFigures = {
  queue: 'media',
  waiting: 40,
  active: 2,
  delayed: 1,
  paused: false,
  oldestWaitingSeconds: 12.5,
  meanRunMs: 3_000,
  desiredWorkers: 3,
};

function metricsOf(all: () => Promise<QueueFigures[]>, counts: () => Promise<{ queue: string; reason: string; count: number }[]> = () => Promise.resolve([])) {
  const metrics = createMetrics('ops-api');
  exportFleetMetrics({ metrics, inspector: { all }, deadLetters: { counts }, log: silentLogger, timeoutMs: 50, maxAgeMs: 0 });
  return async () => (await metrics.registry.metrics()).split('\n').filter((line) => /^backhaul_(?:worker|queue|dead|ops)/.test(line));
}

test('a scrape shows each queue, what the autoscaler follows, and the open dead letters', async () => {
  const scrape = metricsOf(
    () => Promise.resolve([media]),
    () => Promise.resolve([{ queue: 'media', reason: 'corrupt', count: 4 }]),
  );
  expect(await scrape()).toEqual([
    'backhaul_worker_desired_replicas{queue="media",service="ops-api"} 3',
    'backhaul_queue_jobs{queue="media",state="waiting",service="ops-api"} 40',
    'backhaul_queue_jobs{queue="media",state="active",service="ops-api"} 2',
    'backhaul_queue_jobs{queue="media",state="delayed",service="ops-api"} 1',
    'backhaul_queue_oldest_waiting_age_seconds{queue="media",service="ops-api"} 12.5',
    'backhaul_dead_letters_open{queue="media",reason="corrupt",service="ops-api"} 4',
    'backhaul_ops_source_up{source="redis",service="ops-api"} 1',
    'backhaul_ops_source_up{source="postgres",service="ops-api"} 1',
  ]);
});

test('the gauges of one scrape share one look', async () => {
  const metrics = createMetrics('ops-api');
  let looks = 0;
  exportFleetMetrics({
    metrics,
    inspector: {
      all() {
        looks += 1;
        return Promise.resolve([media]);
      },
    },
    deadLetters: { counts: () => Promise.resolve([]) },
    log: silentLogger,
    maxAgeMs: 60_000,
  });
  await metrics.registry.metrics();
  expect(looks).toBe(1);
});

test('when Redis hangs the scrape still answers, without the figures from before', async () => {
  let away = false;
  const scrape = metricsOf(() => (away ? new Promise(() => undefined) : Promise.resolve([media])));
  await scrape();
  away = true;
  const startedAt = performance.now();
  expect(await scrape()).toEqual([
    'backhaul_ops_source_up{source="redis",service="ops-api"} 0',
    'backhaul_ops_source_up{source="postgres",service="ops-api"} 1',
  ]);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
});

test('when Postgres refuses, the queues are shown all the same, and after the outage all is back', async () => {
  let away = true;
  const scrape = metricsOf(
    () => Promise.resolve([media]),
    () => (away ? Promise.reject(new Error('away')) : Promise.resolve([{ queue: 'media', reason: 'corrupt', count: 1 }])),
  );
  const during = await scrape();
  expect(during).toContain('backhaul_worker_desired_replicas{queue="media",service="ops-api"} 3');
  expect(during.filter((line) => line.startsWith('backhaul_dead_letters_open'))).toEqual([]);
  away = false;
  expect(await scrape()).toContain('backhaul_dead_letters_open{queue="media",reason="corrupt",service="ops-api"} 1');
});
