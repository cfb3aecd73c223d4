import type { DeadLetter, DeadLetters } from '@backhaul/database';
import { queues } from '@backhaul/jobs';
import { type Replay, bodyOf } from '@backhaul/replay';
import { type RequestHandler, Router } from 'express';
import { z } from 'zod';
import { HttpError, parse } from '../http-errors.ts';
import { flag, pageSize, queueName, rowId } from './parameters.ts';

const parameters = z.object({ id: rowId });
const listQuery = z.strictObject({
  queue: queueName(queues.map(({ name }) => name)).optional(),
  /** Those that were tried again as well. */
  retried: flag.default(false),
  limit: pageSize,
  /** Those below this number: the `next` of the page before. */
  before: rowId.optional(),
});

/** What the routes need. */
export interface DeadLetterRoutesOptions {
  readonly deadLetters: Pick<DeadLetters, 'list' | 'find'>;
  readonly replay: Replay;
  /** Guards what changes something. */
  readonly authorized: RequestHandler;
}

/** A dead letter in a list: without contents, they hold people's addresses and words. */
export function summaryOf({ payload: _payload, bodyHead: _bodyHead, history: _history, ...letter }: DeadLetter) {
  return letter;
}

/**
 * `GET /v1/dead-letters` the newest first, a page at a time;
 * `GET /v1/dead-letters/:id` with payload, body and history;
 * `POST /v1/dead-letters/:id/retry` tries it again (202).
 */
export function deadLetterRoutes(options: DeadLetterRoutesOptions): Router {
  const router = Router();
  router.get('/v1/dead-letters', async (request, response) => {
    const { queue, retried, limit, before } = parse(listQuery, request.query);
    const page = await options.deadLetters.list({
      limit,
      includeRetried: retried,
      ...(queue === undefined ? {} : { queue }),
      ...(before === undefined ? {} : { beforeId: before }),
    });
    response.json({ deadLetters: page.map(summaryOf), next: page.length === limit ? (page.at(-1)?.id ?? null) : null });
  });
  router.get('/v1/dead-letters/:id', async (request, response) => {
    const { id } = parse(parameters, request.params);
    const letter = await options.deadLetters.find(id);
    if (letter === undefined) throw new HttpError(404, 'not_found', `id: there is no dead letter ${id}`);
    const { bodyHead: _bodyHead, bodyBytes: _bodyBytes, ...rest } = letter;
    response.json({ ...rest, body: bodyOf(letter) });
  });
  router.post('/v1/dead-letters/:id/retry', options.authorized, async (request, response) => {
    const { id } = parse(parameters, request.params);
    response.status(202).json(await options.replay(id));
  });
  return router;
}
