import { notificationWithdraw } from '@backhaul/events';
import { expect, test } from 'vitest';
import { memoryPorts, testContext } from '../memory-ports.ts';
import { sendPushHandler } from '../send-push/handler.ts';
import { withdrawHandler } from './handler.ts';

const payload = { type: 'withdraw', userId: 'ann', reason: 'read', chatId: 'family', fcmToken: 'device-1' } as const;

test('it is remembered before the device is told, with a push that shows nothing and leaves no row', async () => {
  const { ports, pushes, records, withdrawals } = memoryPorts();
  await expect(withdrawHandler({ ...payload, chatMessageIds: ['m-1', 'm-2'] }, testContext(ports))).resolves.toEqual({
    status: 'done',
    result: { reason: 'read', cleared: 'sent' },
  });
  expect(withdrawals).toEqual([
    { messageId: 'message-1', userId: 'ann', reason: 'read', chatId: 'family', chatMessageIds: ['m-1', 'm-2'], readUpTo: undefined },
  ]);
  expect(pushes).toMatchObject([
    { token: 'device-1', data: { clear: 'read', chatId: 'family', chatMessageIds: '["m-1","m-2"]' }, options: { dataOnly: true } },
  ]);
  expect(records).toEqual([]);
});

test('run twice, the device is told once', async () => {
  const { ports, pushes } = memoryPorts();
  for (const attempt of [1, 2]) await withdrawHandler(payload, testContext(ports, { attempt }));
  expect(pushes).toHaveLength(1);
});

test('the app is told by which key it was shown', async () => {
  const { ports, pushes } = memoryPorts();
  const push = { type: 'push', userId: 'ann', title: 'Family', body: '', fcmToken: 'device-1', push: { collapseId: 'chat-42' } } as const;
  await sendPushHandler(push, testContext(ports));
  await withdrawHandler({ ...payload, collapseIds: ['chat-42'] }, testContext(ports, { messageId: 'message-2' }));
  expect(pushes[1]?.data['collapseKeys']).toBe(JSON.stringify([pushes[0]?.collapseKey]));
});

test('somebody without a device has nothing to be cleared, and what waits is withdrawn all the same', async () => {
  const { ports, withdrawals } = memoryPorts();
  const { fcmToken: _, ...toEveryDevice } = payload;
  await expect(withdrawHandler(toEveryDevice, testContext(ports))).resolves.toMatchObject({ status: 'done', result: { cleared: 'no_devices' } });
  expect(withdrawals).toHaveLength(1);
});

test('a withdrawal whose push fails is tried again as a whole', async () => {
  const { ports, withdrawals } = memoryPorts([{ outcome: 'unavailable', detail: '503' }]);
  await expect(withdrawHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'provider_unavailable' });
  await expect(withdrawHandler(payload, testContext(ports, { attempt: 2 }))).resolves.toMatchObject({ status: 'done' });
  expect(withdrawals).toHaveLength(2);
});

test('everything is withdrawn by a log-out only, and no more is named than one push holds', () => {
  const refused = (change: object) =>
    notificationWithdraw.data.safeParse({ type: 'withdraw', userId: 'ann', reason: 'read', ...change }).error?.issues[0]?.message;
  expect(refused({})).toContain('expected a chatId or chatMessageIds');
  expect(refused({ reason: 'logged_out' })).toBeUndefined();
  expect(refused({ chatMessageIds: Array.from({ length: 80 }, () => crypto.randomUUID()) })).toBeUndefined();
  expect(refused({ chatMessageIds: Array.from({ length: 80 }, () => crypto.randomUUID()), collapseIds: ['a', 'b'] })).toContain('too many for one push');
});
