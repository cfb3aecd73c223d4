import { describeError, withDeadline } from '@backhaul/runtime';
import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import type { CleanupPorts } from '../ports.ts';
import type { checkHealth } from './job.ts';

const CHECK_TIMEOUT_MS = 5_000;
/** A job that is open for longer than any job may take with all its retries. */
const OLD_JOB_SECONDS = 30 * 60;

interface Finding {
  readonly ok: boolean;
  readonly latencyMs: number;
  readonly error?: string;
}

/** What is wrong is reported, never thrown: the finding is the job's result. */
export const checkHealthHandler: JobHandler<z.output<typeof checkHealth.payload>, CleanupPorts> = async (_payload, { ports: { health }, log }) => {
  const dependencies: Record<string, Finding> = Object.fromEntries(
    await Promise.all(
      Object.entries(health.dependencies).map(async ([name, check]): Promise<[string, Finding]> => {
        const startedAt = performance.now();
        const latencyMs = () => Math.round((performance.now() - startedAt) * 10) / 10;
        try {
          await withDeadline(name, CHECK_TIMEOUT_MS, Promise.resolve().then(check));
          return [name, { ok: true, latencyMs: latencyMs() }];
        } catch (error) {
          return [name, { ok: false, latencyMs: latencyMs(), error: describeError(error).message }];
        }
      }),
    ),
  );
  const queues = await withDeadline('counting open jobs', CHECK_TIMEOUT_MS, health.openJobs()).catch((error: unknown) => {
    log.warn('open jobs could not be counted', { error });
    return undefined;
  });
  const failing = Object.entries(dependencies).flatMap(([name, { ok }]) => (ok ? [] : [name]));
  const late = (queues ?? []).filter((queue) => queue.oldestSeconds > OLD_JOB_SECONDS).map((queue) => queue.queue);
  const healthy = failing.length === 0 && late.length === 0 && queues !== undefined;
  if (!healthy) log.warn('health check found problems', { failing, late, dependencies, queues });
  return done({ healthy, failing, late, dependencies, queues: queues ?? [] });
};
