import type { QuietHours, UserPolicy } from '@backhaul/database';
import { notificationCategories } from '@backhaul/events';
import { isTimeZone } from '@backhaul/jobs/policy';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { parse } from '../http-errors.ts';
import { jsonBody, refuseUnreadable } from '../json-body.ts';

/** Postgres text cannot hold a NUL. As long as in the events. */
const id = z
  .string()
  .min(1)
  .max(200)
  .refine((value) => !value.includes('\0') && value.isWellFormed(), 'must not have a NUL character');
const CHANNELS = ['push', 'email', 'sms'] as const;
const CATEGORIES = ['all', ...notificationCategories] as const;
const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
/** More than one night and a few weekends need. */
const MAX_WINDOWS = 14;
/** An app that crashed does not say goodbye: presence ends by itself. */
const MAX_PRESENCE_SECONDS = 3_600;

const userParameters = z.object({ userId: id });
const preferenceParameters = z.object({
  userId: id,
  channel: z.enum(CHANNELS, { error: `expected ${CHANNELS.join(', ')}` }),
  category: z.enum(CATEGORIES, { error: `expected ${CATEGORIES.join(', ')}` }),
});
const chatParameters = z.object({ userId: id, chatId: id });
const blockParameters = z.object({ userId: id, blockedUserId: id });
const deviceParameters = z.object({ userId: id, deviceId: id });

const moment = z.iso.datetime({ offset: true, error: 'expected an ISO 8601 time with its offset' }).transform((text) => new Date(text));
const time = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected a time such as 22:00');

const preferenceBody = z.strictObject({ enabled: z.boolean() });
const muteBody = z.strictObject({ until: moment.nullable().default(null), exceptMentions: z.boolean().default(false) });
const readBody = z.strictObject({ upTo: moment });
const presenceBody = z.strictObject({ seconds: z.int().min(1).max(MAX_PRESENCE_SECONDS) });
const quietBody = z.strictObject({
  timeZone: z.string().max(100).refine(isTimeZone, 'expected an IANA time zone such as Europe/Berlin'),
  windows: z
    .array(
      z
        .strictObject({
          start: time,
          end: time,
          days: z
            .array(z.enum(WEEKDAYS, { error: `expected ${WEEKDAYS.join(', ')}` }))
            .nonempty()
            .default([...WEEKDAYS]),
        })
        .refine(({ start, end }) => start !== end, 'start and end must differ'),
    )
    .min(1)
    .max(MAX_WINDOWS),
});
const noBody = z.union([z.undefined(), z.strictObject({})]);

/** What the routes need. */
export interface UserPolicyRoutesOptions {
  readonly policy: UserPolicy;
  /** Guards what changes something. */
  readonly authorized: RequestHandler;
}

/**
 * What a user chose, and what the chat app tells about them. Each is read with
 * GET, set with PUT and taken back with DELETE, below `/v1/users/:userId`:
 *
 * `preferences[/:channel/:category]`, `mutes[/:chatId]`, `quiet-hours`,
 * `left-chats[/:chatId]`, `blocks[/:blockedUserId]`; `read-marks/:chatId` (PUT
 * only) and `presence/:deviceId` (PUT and DELETE).
 */
export function userPolicyRoutes({ policy, authorized }: UserPolicyRoutesOptions): Router {
  const router = Router();
  const list = (path: string, read: (userId: string) => Promise<object>) =>
    void router.get(`/v1/users/:userId/${path}`, async (request, response) => {
      response.json(await read(parse(userParameters, request.params).userId));
    });
  const put = (path: string, write: (request: Request) => Promise<void>) =>
    void router.put(`/v1/users/:userId/${path}`, authorized, jsonBody, refuseUnreadable, async (request: Request, response: Response) => {
      await write(request);
      response.status(204).end();
    });
  const remove = (path: string, erase: (request: Request) => Promise<boolean>) =>
    void router.delete(`/v1/users/:userId/${path}`, authorized, async (request, response) => {
      response.json({ removed: await erase(request) });
    });

  list('preferences', async (userId) => ({ preferences: await policy.preferences(userId) }));
  put('preferences/:channel/:category', (request) => {
    const { userId, channel, category } = parse(preferenceParameters, request.params);
    return policy.setPreference(userId, { channel, category, ...parse(preferenceBody, request.body) });
  });
  remove('preferences/:channel/:category', (request) => {
    const { userId, channel, category } = parse(preferenceParameters, request.params);
    return policy.removePreference(userId, channel, category);
  });

  list('mutes', async (userId) => ({ mutes: await policy.mutes(userId) }));
  put('mutes/:chatId', (request) => {
    const { userId, chatId } = parse(chatParameters, request.params);
    return policy.mute(userId, { chatId, ...parse(muteBody, request.body ?? {}) });
  });
  remove('mutes/:chatId', (request) => {
    const { userId, chatId } = parse(chatParameters, request.params);
    return policy.unmute(userId, chatId);
  });

  list('quiet-hours', async (userId) => ({ quietHours: shown(await policy.quietHours(userId)) }));
  put('quiet-hours', (request) => {
    const { timeZone, windows } = parse(quietBody, request.body);
    return policy.setQuietHours(parse(userParameters, request.params).userId, {
      timeZone,
      windows: windows.map(({ start, end, days }) => ({
        startMinute: minutes(start),
        endMinute: minutes(end),
        days: [...new Set(days)].map((day) => WEEKDAYS.indexOf(day) + 1),
      })),
    });
  });
  remove('quiet-hours', (request) => policy.removeQuietHours(parse(userParameters, request.params).userId));

  list('left-chats', async (userId) => ({ leftChats: await policy.leftChats(userId) }));
  put('left-chats/:chatId', (request) => {
    const { userId, chatId } = parse(chatParameters, request.params);
    parse(noBody, request.body);
    return policy.leaveChat(userId, chatId);
  });
  remove('left-chats/:chatId', (request) => {
    const { userId, chatId } = parse(chatParameters, request.params);
    return policy.joinChat(userId, chatId);
  });

  list('blocks', async (userId) => ({ blocks: await policy.blockedUsers(userId) }));
  put('blocks/:blockedUserId', (request) => {
    const { userId, blockedUserId } = parse(blockParameters, request.params);
    parse(noBody, request.body);
    return policy.block(userId, blockedUserId);
  });
  remove('blocks/:blockedUserId', (request) => {
    const { userId, blockedUserId } = parse(blockParameters, request.params);
    return policy.unblock(userId, blockedUserId);
  });

  put('read-marks/:chatId', (request) => {
    const { userId, chatId } = parse(chatParameters, request.params);
    return policy.markRead(userId, chatId, parse(readBody, request.body).upTo);
  });
  put('presence/:deviceId', (request) => {
    const { userId, deviceId } = parse(deviceParameters, request.params);
    return policy.setActive(userId, deviceId, new Date(Date.now() + parse(presenceBody, request.body).seconds * 1_000));
  });
  remove('presence/:deviceId', (request) => {
    const { userId, deviceId } = parse(deviceParameters, request.params);
    return policy.setInactive(userId, deviceId);
  });
  return router;
}

function shown(hours: QuietHours | undefined): object | null {
  if (hours === undefined) return null;
  return {
    timeZone: hours.timeZone,
    windows: hours.windows.map(({ startMinute, endMinute, days }) => ({
      start: clock(startMinute),
      end: clock(endMinute),
      days: days.map((day) => WEEKDAYS[day - 1]),
    })),
  };
}

function minutes(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
}

function clock(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
}
