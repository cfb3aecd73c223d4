import { type DeadLetters, type Effects, type Jobs, explain } from '@backhaul/database';
import { queues } from '@backhaul/jobs';
import type { Inspector } from '@backhaul/queue';
import { withDeadline } from '@backhaul/runtime';
import { Router } from 'express';
import { z } from 'zod';
import { HttpError, parse } from '../http-errors.ts';
import { summaryOf } from './dead-letters.ts';
import { pageSize, queueName } from './parameters.ts';

/** Messages never get longer ids: the bridge replaces those by their hash. */
const messageParameters = z.object({ messageId: z.string().min(1).max(512) });

const explainQuery = z.strictObject({ user: z.string().min(1).max(200).optional() });

const OPEN = ['queued', 'active', 'retrying'] as const;
const listQuery = z.strictObject({
  queue: queueName(queues.map(({ name }) => name)).optional(),
  status: z.enum(OPEN, { error: `expected ${OPEN.join(', ')}; finished jobs are found by their message id, dead ones at /v1/dead-letters` }).optional(),
  limit: pageSize,
  after: z.string().max(512).default(''),
});

/** What the routes need. */
export interface JobRoutesOptions {
  readonly jobs: Pick<Jobs, 'find' | 'open'>;
  readonly effects: Pick<Effects, 'of'>;
  readonly deadLetters: Pick<DeadLetters, 'of'>;
  readonly inspector: Pick<Inspector, 'progress'>;
}

/**
 * `GET /v1/jobs`: the open jobs, a page at a time, in message id order.
 * `GET /v1/jobs/:messageId`: everything that is known of one message: row, history, effects, dead letters, and how far it is.
 * `GET /v1/explain/:messageId?user=`: what decided and every step in order, without contents.
 */
export function jobRoutes(options: JobRoutesOptions): Router {
  const router = Router();
  router.get('/v1/jobs', async (request, response) => {
    const { queue, status, limit, after } = parse(listQuery, request.query);
    const page = await options.jobs.open({ after, limit, ...(queue === undefined ? {} : { queue }), ...(status === undefined ? {} : { status }) });
    response.json({
      // No payloads in a list: they hold people's addresses and words.
      jobs: page.map(({ payload: _payload, history: _history, result: _result, ...row }) => row),
      next: page.length === limit ? (page.at(-1)?.messageId ?? null) : null,
    });
  });
  router.get('/v1/jobs/:messageId', async (request, response) => {
    const { messageId } = parse(messageParameters, request.params);
    // The job first: what was confirmed before it ended is then in what is read after it.
    const job = await options.jobs.find(messageId);
    const [effects, deadLetters] = await Promise.all([options.effects.of(messageId), options.deadLetters.of(messageId)]);
    if (job === undefined && deadLetters.length === 0)
      throw new HttpError(404, 'not_found', `messageId: nothing is known of ${messageId}; it never came, or it was done so long ago that it was pruned`);
    // The job is known without Redis; how far it is, is worth a second at most.
    const progress =
      job?.finishedAt === null
        ? await withDeadline('asking for the progress', 1_000, options.inspector.progress(job.queue, messageId)).catch(() => undefined)
        : undefined;
    response.json({ messageId, job: job ?? null, progress: progress ?? null, effects, deadLetters: deadLetters.map(summaryOf) });
  });
  router.get('/v1/explain/:messageId', async (request, response) => {
    const { messageId } = parse(messageParameters, request.params);
    const { user } = parse(explainQuery, request.query);
    const job = await options.jobs.find(messageId);
    const [effects, deadLetters] = await Promise.all([options.effects.of(messageId), options.deadLetters.of(messageId)]);
    const explanation = explain({ messageId, job: job ?? null, effects, deadLetters }, user);
    if (explanation === undefined)
      throw new HttpError(404, 'not_found', `messageId: nothing is known of ${messageId}${user === undefined ? '' : ` for user ${user}`}`);
    response.json(explanation);
  });
  return router;
}
