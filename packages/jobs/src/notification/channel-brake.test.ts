import { expect, test } from 'vitest';
import { memoryPorts, testContext } from './memory-ports.ts';
import type { Delivery } from './ports.ts';
import { sendEmailHandler } from './send-email/handler.ts';
import { sendPushHandler } from './send-push/handler.ts';
import { sendSmsHandler } from './send-sms/handler.ts';

const text = { userId: 'user-1', title: 'Family', body: 'Dinner?' };
const push = { type: 'push', ...text, fcmToken: 'device-1' } as const;
const mail = { type: 'email', ...text, email: 'ann@example.com' } as const;
const sms = { type: 'sms', ...text, phoneNumber: '+15005550006' } as const;
const limited = (retryAfterMs?: number): Delivery => ({
  outcome: 'deferred',
  code: 'rate_limited',
  detail: '429',
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});
const unauthorized: Delivery = { outcome: 'unauthorized', detail: '401' };

test('while a channel is held its jobs wait to the end and a little longer, without a claim or a request', async () => {
  const { ports, pushes, effects, holds, records } = memoryPorts();
  holds.set('push', { forMs: 40_000, reason: 'rate_limited' });
  const delays: number[] = [];
  for (let job = 0; job < 50; job += 1) {
    const waits = await sendPushHandler(push, testContext(ports, { messageId: `m-${job}`, lastTry: true })).catch((error: unknown) => error);
    expect(waits).toMatchObject({ name: 'RetryLater', code: 'channel_held' });
    delays.push((waits as { delayMs: number }).delayMs);
  }
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(40_000);
  expect(Math.max(...delays)).toBeLessThanOrEqual(50_000);
  // Spread out: together they would be the next burst.
  expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(2_000);
  expect([pushes.length, effects.rows.size, records.length]).toEqual([0, 0, 0]);
  await expect(sendEmailHandler(mail, testContext(ports))).resolves.toMatchObject({ status: 'done' });
});

test.each([
  [30_000, 30_000],
  [undefined, 60_000],
  [86_400_000, 3_600_000],
  [0, 1_000],
])('D-08: after a 429 with %s ms to wait no push is sent for %d ms', async (retryAfterMs, heldMs) => {
  const { ports, pushes, holds } = memoryPorts([limited(retryAfterMs)]);
  await expect(sendPushHandler(push, testContext(ports))).rejects.toMatchObject({ name: 'RetryLater', code: 'rate_limited' });
  expect(holds.get('push')).toEqual({ forMs: heldMs, reason: 'rate_limited' });
  await expect(sendPushHandler(push, testContext(ports, { messageId: 'message-2' }))).rejects.toMatchObject({ code: 'channel_held' });
  expect(pushes).toHaveLength(1);
});

test('a rate limit of one device, a busy provider and a platform’s own key hold nobody else', async () => {
  const { ports, holds } = memoryPorts([
    { outcome: 'deferred', code: 'device_rate_limited', detail: '429' },
    { outcome: 'deferred', code: 'provider_busy', detail: '503', retryAfterMs: 5_000 },
    { outcome: 'unauthorized', about: 'platform', detail: 'APNs' },
  ]);
  for (const code of ['device_rate_limited', 'provider_busy', 'platform_unauthorized'])
    await expect(sendPushHandler(push, testContext(ports, { messageId: code }))).rejects.toMatchObject({ name: 'RetryLater', code });
  expect(holds.size).toBe(0);
});

test.each([
  ['email', (context: ReturnType<typeof testContext>) => sendEmailHandler(mail, context)],
  ['sms', (context: ReturnType<typeof testContext>) => sendSmsHandler(sms, context)],
] as const)('refused credentials hold %s for a minute, a rate limit does not', async (channel, send) => {
  const { ports, holds } = memoryPorts([limited(30_000), unauthorized]);
  await expect(send(testContext(ports))).rejects.toMatchObject({ code: 'rate_limited' });
  expect(holds.size).toBe(0);
  await expect(send(testContext(ports))).rejects.toMatchObject({ name: 'RetryLater', code: 'channel_unauthorized' });
  expect([...holds]).toEqual([[channel, { forMs: 60_000, reason: 'channel_unauthorized' }]]);
});

test('a hold that begins in the middle of a push to thousands leaves the others to a later run', async () => {
  const made = memoryPorts([limited(30_000)]);
  const userIds = Array.from({ length: 2_000 }, (_, index) => `user-${index}`);
  for (const userId of userIds) made.devices.push({ token: userId, userId, suspectMessageId: null });
  const several = { type: 'push', title: 'Family', body: 'Dinner?', userIds } as const;
  await expect(sendPushHandler({ ...several, userIds: [...userIds] }, testContext(made.ports))).rejects.toMatchObject({ name: 'RetryLater' });
  expect(made.pushes.length).toBeLessThanOrEqual(100);
  const first = made.pushes.length;
  await expect(sendPushHandler({ ...several, userIds: [...userIds] }, testContext(made.ports, { attempt: 2 }))).rejects.toMatchObject({ code: 'channel_held' });
  expect(made.pushes.length).toBe(first);
  made.holds.clear();
  await expect(sendPushHandler({ ...several, userIds: [...userIds] }, testContext(made.ports, { attempt: 3 }))).resolves.toMatchObject({
    result: { sent: 2_000 - (first - 1), alreadySent: first - 1 },
  });
});
