import type { ErrorRequestHandler, RequestHandler } from 'express';
import { bearerMatches } from '@backhaul/runtime';
import { ReplayRefused } from '@backhaul/replay';
import type { z } from 'zod';

/** An answer that says no: its status, a stable code, and a sentence that says what was wrong and what was expected. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = 'HttpError';
    this.status = status;
    this.code = code;
  }
}

/**
 * Reads a request's parameters or query.
 * @throws {HttpError} 400 `invalid_request` naming each field
 */
export function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) =>
    issue.code === 'unrecognized_keys' ? `${issue.keys.join(', ')}: there is no such parameter` : `${issue.path.join('.')}: ${issue.message}`,
  );
  throw new HttpError(400, 'invalid_request', problems.join('; '));
}

/** Lets only requests pass that bring the token; none when there is no token. */
export function requireToken(token: string | undefined): RequestHandler {
  return (request, _response, next) => {
    if (token === undefined) throw new HttpError(403, 'changes_disabled', 'Set OPS_TOKEN to allow requests that change something.');
    if (!bearerMatches(request.headers.authorization, token)) throw new HttpError(401, 'unauthorized', 'Send the header Authorization: Bearer <OPS_TOKEN>.');
    next();
  };
}

const REFUSED_STATUS: Readonly<Record<ReplayRefused['code'], number>> = {
  not_found: 404,
  already_retried: 409,
  not_dead: 409,
  body_truncated: 422,
  no_routing_key: 422,
  unroutable: 422,
};

/** Turns what the routes throw into JSON; what it does not know goes to the server's last resort (503). */
export const answerErrors: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (error instanceof HttpError) response.status(error.status).json({ error: error.code, message: error.message });
  else if (error instanceof ReplayRefused) response.status(REFUSED_STATUS[error.code]).json({ error: error.code, message: error.message });
  else next(error);
};
