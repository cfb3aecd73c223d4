import { createHealthServer, createMetrics, silentLogger } from '@backhaul/runtime';

/** What `startWorker` wants of a process, for a worker that runs inside a benchmark: real instruments, no listening port. */
export function idleProcess() {
  const log = silentLogger;
  const metrics = createMetrics('bench');
  const http = createHealthServer({ service: 'bench', log, metrics, onShutdown: () => undefined });
  const config = { WORKER_LOCK_DURATION_MS: 30_000, WORKER_STALLED_INTERVAL_MS: 30_000, WORKER_STOP_GRACE_MS: 5_000 };
  return { log, metrics, http, config };
}
