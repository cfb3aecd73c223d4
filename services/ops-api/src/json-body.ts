import { type ErrorRequestHandler, json } from 'express';
import { HttpError } from './http-errors.ts';

/** Reads every body as JSON: a client that forgets to say so means it all the same. To be followed by `refuseUnreadable`. */
export const jsonBody = json({ limit: '16kb', type: () => true });

/** A body that is no JSON, or too much of it. What was refused before it was read, for want of a token, stays as it is. */
export const refuseUnreadable: ErrorRequestHandler = (error: unknown, _request, _response, next) => {
  const status = typeof error === 'object' && error !== null && 'status' in error ? error.status : undefined;
  if (error instanceof HttpError || typeof status !== 'number' || status < 400 || status >= 500) next(error);
  else next(new HttpError(status, status === 413 ? 'too_large' : 'invalid_request', 'expected a JSON object of at most 16 kB in the body'));
};
