import type { Jobs } from '@backhaul/database';
import type { Inspector } from '@backhaul/queue';
import { withDeadline } from '@backhaul/runtime';
import { Router } from 'express';

/** `GET /v1/queues`: what Redis holds of each queue, and beside it what the record holds. They differ while the bridge or the reconciler is at it. */
export function queueRoutes(options: { readonly inspector: Pick<Inspector, 'all'>; readonly jobs: Pick<Jobs, 'summary'>; readonly timeoutMs: number }): Router {
  const router = Router();
  router.get('/v1/queues', async (_request, response) => {
    const [figures, summary] = await withDeadline('looking into the queues', options.timeoutMs, Promise.all([options.inspector.all(), options.jobs.summary()]));
    response.json({
      queues: figures.map((each) => ({
        ...each,
        recorded: Object.fromEntries(
          summary
            .filter(({ queue }) => queue === each.queue)
            .map(({ status, count, oldestSeconds }) => [status, { count, oldestSeconds: Math.round(oldestSeconds) }]),
        ),
      })),
    });
  });
  return router;
}
