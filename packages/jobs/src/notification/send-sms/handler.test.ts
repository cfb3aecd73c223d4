import { expect, test } from 'vitest';
import { memoryPorts, testContext } from '../memory-ports.ts';
import { sendSmsHandler } from './handler.ts';
import { sendSms } from './job.ts';
import type { SmsList } from '../sms-ports.ts';

const listed = (...messages: Extract<SmsList, { outcome: 'listed' }>['messages'][number][]): SmsList => ({ outcome: 'listed', messages });
const payload = { type: 'sms', userId: 'user-1', title: 'Family', body: 'Dinner?', phoneNumber: '+1 (500) 555-0006' } as const;

test('a text message goes to the number in E.164, title first', async () => {
  const { ports, texts, records } = memoryPorts();
  await sendSmsHandler(payload, testContext(ports));
  expect(texts).toMatchObject([{ to: '+15005550006', body: 'Family: Dinner?' }]);
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

test('after a lost answer the provider is asked, and what it does not show is never sent again', async () => {
  const { ports, texts, effects, records } = memoryPorts([{ outcome: 'ambiguous', detail: 'timeout' }]);
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'RetryLater', code: 'delivery_ambiguous' });
  expect(records).toEqual([]);
  for (let again = 0; again < 2; again += 1) {
    effects.expireLeases();
    await expect(sendSmsHandler(payload, testContext(ports, { attempt: 2 }))).rejects.toMatchObject({ name: 'PermanentFailure', code: 'delivery_unknown' });
  }
  expect(texts).toHaveLength(1);
  expect(records.every(({ success }) => !success)).toBe(true);
});

test('a lost answer is settled as sent when the provider has the message', async () => {
  const { ports, texts, effects, records, lists } = memoryPorts([{ outcome: 'ambiguous', detail: 'timeout' }]);
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  lists.push({ outcome: 'unreadable', detail: 'away' }, listed({ providerId: 'SM1', status: 'sent', undelivered: false }));
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'RetryLater', code: 'delivery_ambiguous' });
  effects.expireLeases();
  await expect(sendSmsHandler(payload, testContext(ports))).resolves.toMatchObject({ result: { providerId: 'SM1', alreadySent: true } });
  expect(texts).toHaveLength(1);
  expect(records).toMatchObject([{ success: true }]);
});

test('a report that came meanwhile settles a lost answer, without a question to the provider', async () => {
  const { ports, texts, effects, lists, reports } = memoryPorts([
    { outcome: 'ambiguous', detail: 'timeout' },
    { outcome: 'ambiguous', detail: 'timeout' },
  ]);
  for (const [messageId, number] of [
    ['m-1', '+15005550006'],
    ['m-2', '+15005550007'],
  ] as const)
    await expect(sendSmsHandler({ ...payload, phoneNumber: number }, testContext(ports, { messageId }))).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  lists.push({ outcome: 'unreadable', detail: 'not asked' }, { outcome: 'unreadable', detail: 'not asked' });
  const [arrived = '', lost = ''] = texts.map(({ reference }) => reference);
  reports.set(arrived, { providerId: 'SM1', status: 'delivered', errorCode: null, arrived: true, undelivered: false });
  reports.set(lost, { providerId: 'SM2', status: 'undelivered', errorCode: 30_003, arrived: false, undelivered: true });
  await expect(sendSmsHandler(payload, testContext(ports, { messageId: 'm-1' }))).resolves.toMatchObject({ result: { providerId: 'SM1', alreadySent: true } });
  await expect(sendSmsHandler({ ...payload, phoneNumber: '+15005550007' }, testContext(ports, { messageId: 'm-2' }))).rejects.toMatchObject({
    code: 'undelivered',
  });
  expect([texts.length, lists.length]).toEqual([2, 2]);
});

test('a message that belongs to another send is not taken for the lost one', async () => {
  const { ports, effects, lists } = memoryPorts([
    { outcome: 'sent', providerId: 'SM1' },
    { outcome: 'ambiguous', detail: 'timeout' },
  ]);
  await sendSmsHandler(payload, testContext(ports, { messageId: 'first' }));
  const second = testContext(ports, { messageId: 'second' });
  await expect(sendSmsHandler(payload, second)).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  lists.push(listed({ providerId: 'SM1', status: 'sent', undelivered: false }));
  await expect(sendSmsHandler(payload, second)).rejects.toMatchObject({ code: 'delivery_unknown' });
});

test('a lost message that the provider could not deliver is a failure, and not repeated', async () => {
  const { ports, texts, effects, lists } = memoryPorts([{ outcome: 'ambiguous', detail: 'timeout' }]);
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  lists.push(listed({ providerId: 'SM1', status: 'failed', undelivered: true }));
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'PermanentFailure', code: 'undelivered' });
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_unknown' });
  expect(texts).toHaveLength(1);
});

test('a provider that gives no answer about a lost message is asked for an hour', async () => {
  const { ports, effects, lists } = memoryPorts([{ outcome: 'ambiguous', detail: 'timeout' }]);
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  for (const row of effects.rows.values()) row.claimedAt = new Date(Date.now() - 3_600_001);
  lists.push({ outcome: 'unreadable', detail: 'away' });
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'PermanentFailure', code: 'delivery_unknown' });
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

test('the result tells what the text costs; one with too many segments is refused', async () => {
  const { ports, texts } = memoryPorts();
  await expect(sendSmsHandler(payload, testContext(ports))).resolves.toMatchObject({ result: { encoding: 'gsm-7', segments: 1 } });
  await expect(sendSmsHandler({ ...payload, body: 'я'.repeat(700) }, testContext(ports, { messageId: 'm-2' }))).rejects.toMatchObject({
    code: 'too_many_segments',
  });
  expect(texts).toHaveLength(1);
});

const code = { ...payload, class: 'otp', title: 'Your code', body: '845213' } as const;

test('a code that is five minutes late is not sent, one that is not is', async () => {
  const { ports, texts, effects, received } = memoryPorts();
  received.set('late', new Date(Date.now() - 300_000)).set('early', new Date(Date.now() - 290_000));
  await expect(sendSmsHandler(code, testContext(ports, { messageId: 'late' }))).resolves.toMatchObject({ status: 'skipped', reason: 'expired' });
  expect([texts, effects.rows.size]).toEqual([[], 0]);
  await expect(sendSmsHandler(code, testContext(ports, { messageId: 'early' }))).resolves.toMatchObject({ status: 'done' });
});

test('an event may set its own end, as a moment or a duration', async () => {
  const { ports, texts, received } = memoryPorts();
  const context = testContext(ports);
  received.set('message-1', new Date(Date.now() - 2_000));
  await expect(sendSmsHandler({ ...payload, expiresAt: '2020-01-01T00:00:00+02:00' }, context)).resolves.toMatchObject({ reason: 'expired' });
  await expect(sendSmsHandler({ ...payload, expiresInMs: 1_000 }, context)).resolves.toMatchObject({ reason: 'expired' });
  expect(texts).toEqual([]);
  await expect(sendSmsHandler({ ...code, expiresInMs: 60_000 }, context)).resolves.toMatchObject({ status: 'done' });
});

test('a code is in no log, no result and no row', async () => {
  const { ports, texts, records } = memoryPorts();
  const outcome = await sendSmsHandler(code, testContext(ports));
  expect(texts).toMatchObject([{ body: 'Your code: 845213' }]);
  expect(records).toMatchObject([{ title: 'otp', body: '', success: true }]);
  expect(JSON.stringify([outcome, records])).not.toContain('845213');
});

test('codes go before everything else, unless the event says otherwise', () => {
  const priority = (changes: object) => (typeof sendSms.priority === 'number' ? sendSms.priority : sendSms.priority({ ...payload, ...changes }));
  expect([priority({}), priority({ class: 'alert' }), priority({ urgent: true })]).toEqual([1, 1, 10]);
  expect([priority({ class: 'otp' }), priority({ class: 'two_factor' }), priority({ class: 'otp', urgent: false })]).toEqual([10, 10, 1]);
});

test('a refusal because the person opted out is kept, and nothing is sent to that number again', async () => {
  const { ports, texts } = memoryPorts([{ outcome: 'refused', about: 'recipient', code: 'opted_out', detail: '21610' }]);
  await expect(sendSmsHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'opted_out' });
  await expect(sendSmsHandler(payload, testContext(ports, { messageId: 'm-2' }))).resolves.toMatchObject({ status: 'skipped', reason: 'opted_out' });
  expect(texts).toHaveLength(1);
});

test('over its limit a number waits, a code does not, and tries of the same message count once', async () => {
  const deferred = { outcome: 'deferred', code: 'rate_limited', detail: '429' } as const;
  const { ports, texts } = memoryPorts([deferred]);
  const send = (messageId: string, event: typeof code | typeof payload) => sendSmsHandler(event, testContext(ports, { messageId }));
  await expect(send('g-1', payload)).rejects.toMatchObject({ code: 'rate_limited' });
  await send('g-1', payload);
  await send('g-2', payload);
  await expect(send('g-3', payload)).rejects.toMatchObject({ name: 'RetryLater', code: 'rate_limited', delayMs: 3_600_000 });
  await send('c-1', code);
  await send('c-2', code);
  await expect(send('c-3', code)).resolves.toMatchObject({ status: 'skipped', reason: 'rate_limited' });
  expect(texts).toHaveLength(5);
});
