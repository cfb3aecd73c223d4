import { expect, test } from 'vitest';
import { memoryPorts, testContext } from '../memory-ports.ts';
import { sendSmsHandler } from './handler.ts';

const payload = { type: 'sms', userId: 'user-1', title: 'Family', body: 'Dinner?', phoneNumber: '+1 (500) 555-0006' } as const;

test('a text message goes to the number in E.164, title first', async () => {
  const { ports, texts, records } = memoryPorts();
  await sendSmsHandler(payload, testContext(ports));
  expect(texts).toEqual([{ to: '+15005550006', body: 'Family: Dinner?' }]);
  expect(records).toMatchObject([{ channel: 'sms', success: true }]);
});

test('a title or a body alone is sent without a colon', async () => {
  const { ports, texts } = memoryPorts();
  await sendSmsHandler({ ...payload, title: '' }, testContext(ports, { messageId: 'm-1' }));
  await sendSmsHandler({ ...payload, body: '' }, testContext(ports, { messageId: 'm-2' }));
  expect(texts.map(({ body }) => body)).toEqual(['Dinner?', 'Family']);
});

test.each(['015112345678', '15005550006', '+1', '+999123456789', '+4915112345678 ext. 5', 'call me', '+15005550006,+15005550007', '+15005550006\nFrom=x'])(
  '%o is no number to text to',
  async (phoneNumber) => {
    const { ports, texts, records } = memoryPorts();
    await expect(sendSmsHandler({ ...payload, phoneNumber }, testContext(ports))).rejects.toMatchObject({
      name: 'PermanentFailure',
      code: 'invalid_phone_number',
    });
    expect(texts).toEqual([]);
    expect(records).toMatchObject([{ success: false }]);
  },
);

test('a text above 1600 characters is refused before anything is sent', async () => {
  const { ports, texts } = memoryPorts();
  await expect(sendSmsHandler({ ...payload, body: 'x'.repeat(1_600) }, testContext(ports))).rejects.toMatchObject({ code: 'payload_too_large' });
  expect(texts).toEqual([]);
});

test('without a number the job is skipped', async () => {
  const { ports } = memoryPorts();
  const { phoneNumber: _, ...withoutNumber } = payload;
  await expect(sendSmsHandler(withoutNumber, testContext(ports))).resolves.toMatchObject({ status: 'skipped', reason: 'no_address' });
});

test('after a lost answer a text message is never sent again', async () => {
  const { ports, texts, effects, records } = memoryPorts([{ outcome: 'ambiguous', detail: 'timeout' }]);
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'PermanentFailure', code: 'delivery_unknown' });
  effects.expireLeases();
  await expect(sendSmsHandler(payload, testContext(ports, { attempt: 2 }))).rejects.toMatchObject({ code: 'delivery_unknown' });
  expect(texts).toHaveLength(1);
  expect(records.every(({ success }) => !success)).toBe(true);
});

test('a claim that a dead worker left behind is given up, not sent', async () => {
  const { ports, texts, effects } = memoryPorts();
  await sendSmsHandler(payload, testContext(ports));
  const [key = ''] = effects.rows.keys();
  effects.rows.delete(key);
  await effects.claim(key, { messageId: 'message-1', leaseMs: 1 });
  effects.expireLeases();
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_unknown' });
  expect(texts).toHaveLength(1);
  expect(effects.rows.get(key)?.state).toBe('unknown');
});
