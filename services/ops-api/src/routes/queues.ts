import type { Jobs } from '@backhaul/database';
import { queues } from '@backhaul/jobs';
import type { Inspector } from '@backhaul/queue';
import { withDeadline } from '@backhaul/runtime';
import { Router } from 'express';

/** What the route needs. */
export interface QueueRoutesOptions {
  readonly inspector: Pick<Inspector, 'all'>;
  readonly jobs: Pick<Jobs, 'summary'>;
  /** How long Redis and Postgres may take. */
  readonly timeoutMs: number;
}

/**
 * `GET /v1/queues`: of each queue what Redis holds (`null` while Redis is
 * away), and beside it what the record holds. They differ while the bridge or
 * the reconciler is at it.
 */
export function queueRoutes({ inspector, jobs, timeoutMs }: QueueRoutesOptions): Router {
  const router = Router();
  router.get('/v1/queues', async (_request, response) => {
    const [figures, summary] = await Promise.all([
      withDeadline('looking into the queues', timeoutMs, inspector.all()).catch(() => undefined),
      withDeadline('summing the record up', timeoutMs, jobs.summary()),
    ]);
    response.json({
      queues: queues.map(({ name }) => ({
        queue: name,
        redis: figures?.find(({ queue }) => queue === name) ?? null,
        recorded: Object.fromEntries(
          summary
            .filter(({ queue }) => queue === name)
            .map(({ status, count, oldestSeconds }) => [status, { count, oldestSeconds: Math.round(oldestSeconds) }]),
        ),
      })),
    });
  });
  return router;
}
