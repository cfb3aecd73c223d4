import type { DeviceRow, DeviceTokens } from '@backhaul/database';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { parse } from '../http-errors.ts';
import { jsonBody, refuseUnreadable } from '../json-body.ts';

const PLATFORMS = ['android', 'ios', 'web'] as const;

// As long as in the event notification.push.
const userId = z.string().min(1).max(200).refine(storable, 'must not have a NUL character');
const token = z.string().min(1).max(4_096).refine(storable, 'must not have a NUL character');

const registration = z.strictObject({
  token,
  userId,
  platform: z.enum(PLATFORMS, { error: `expected ${PLATFORMS.join(', ')}` }),
  /** The language tag of the app, such as es-MX. */
  locale: z.string().min(1).max(100).transform(languageTag).optional(),
  appVersion: z.string().min(1).max(100).refine(storable).optional(),
  /** The session in which the app runs: when it ends, its devices can be removed by it. */
  sessionId: z.string().min(1).max(200).refine(storable).optional(),
});
const tokenParameters = z.object({ token });
const userParameters = z.object({ userId });
const sessionQuery = z.strictObject({ sessionId: z.string().min(1).max(200).refine(storable).optional() });
const noQuery = z.strictObject({});

/** What the routes need. */
export interface DeviceRoutesOptions {
  readonly devices: Pick<DeviceTokens, 'register' | 'unregister' | 'ofUsers'>;
  /** Guards what changes something. */
  readonly authorized: RequestHandler;
}

/**
 * `PUT /v1/devices` registers a device, or the device's new user, language or version;
 * `DELETE /v1/devices/:token` removes it;
 * `DELETE /v1/users/:userId/devices?sessionId=` removes the user's, or those of one session;
 * `GET /v1/users/:userId/devices` lists them, the tokens masked.
 */
export function deviceRoutes({ devices, authorized }: DeviceRoutesOptions): Router {
  const router = Router();
  router.put('/v1/devices', authorized, jsonBody, refuseUnreadable, async (request: Request, response: Response) => {
    response.json(shown(await devices.register(parse(registration, request.body))));
  });
  router.delete('/v1/devices/:token', authorized, async (request, response) => {
    response.json({ removed: await devices.unregister(parse(tokenParameters, request.params)) });
  });
  router.delete('/v1/users/:userId/devices', authorized, async (request, response) => {
    const { userId: user } = parse(userParameters, request.params);
    const { sessionId } = parse(sessionQuery, request.query);
    response.json({ removed: await devices.unregister({ userId: user, sessionId }) });
  });
  router.get('/v1/users/:userId/devices', async (request, response) => {
    const { userId: user } = parse(userParameters, request.params);
    parse(noQuery, request.query);
    response.json({ devices: (await devices.ofUsers([user])).map(shown) });
  });
  return router;
}

/** Whoever has a token and a key of the project can push to the device: its ends are enough to tell two apart. */
function shown({ token: whole, suspectMessageId: _, ...device }: DeviceRow) {
  return { token: whole.length < 20 ? '…' : `${whole.slice(0, 4)}…${whole.slice(-4)}`, ...device };
}

/** The tag as BCP 47 writes it. Android's own way of writing it (es_MX) is taken as well: an app that cannot register stays silent. */
function languageTag(value: string, context: z.RefinementCtx): string {
  try {
    return new Intl.Locale(value.replaceAll('_', '-')).toString();
  } catch {
    context.addIssue('expected a language tag (BCP 47) such as es-MX');
    return z.NEVER;
  }
}

/** Postgres text cannot hold it. */
function storable(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed();
}
