import { expect, test } from 'vitest';
import { memoryPorts, testContext } from '../memory-ports.ts';
import { sendEmailHandler } from './handler.ts';

const payload = { type: 'email', userId: 'user-1', title: 'Family', body: 'Dinner?', email: 'Ann@Example.com' } as const;

test('a mail carries subject, text, HTML and a stable Message-ID', async () => {
  const { ports, mails, records } = memoryPorts();
  await sendEmailHandler(payload, testContext(ports));
  const again = memoryPorts();
  await sendEmailHandler(payload, testContext(again.ports));
  expect(mails).toMatchObject([{ to: 'Ann@example.com', subject: 'Family', text: 'Family\n\nDinner?\n' }]);
  expect(mails[0]?.html).toContain('Dinner?');
  expect(mails[0]?.messageIdLeft).toMatch(/^[0-9a-f]{32}$/);
  expect(again.mails[0]?.messageIdLeft).toBe(mails[0]?.messageIdLeft);
  expect(records).toMatchObject([{ channel: 'email', success: true }]);
});

test('without an address the job is skipped', async () => {
  const { ports, mails } = memoryPorts();
  const { email: _, ...withoutAddress } = payload;
  await expect(sendEmailHandler(withoutAddress, testContext(ports))).resolves.toMatchObject({ status: 'skipped', reason: 'no_address' });
  expect(mails).toEqual([]);
});

test('an address that is more than one plain address is a permanent failure', async () => {
  const { ports, mails, records } = memoryPorts();
  await expect(sendEmailHandler({ ...payload, email: 'a@example.com\r\nBcc: b@example.com' }, testContext(ports))).rejects.toMatchObject({
    name: 'PermanentFailure',
    code: 'invalid_address',
  });
  expect(mails).toEqual([]);
  expect(records).toMatchObject([{ success: false }]);
});

test('a lost answer is followed by one resend with the same Message-ID, then by none', async () => {
  const { ports, mails, effects } = memoryPorts([
    { outcome: 'ambiguous', detail: 'no reply after the final dot' },
    { outcome: 'ambiguous', detail: 'no reply after the final dot' },
  ]);
  await expect(sendEmailHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'RetryLater' });
  effects.expireLeases();
  await expect(sendEmailHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_unknown' });
  effects.expireLeases();
  await expect(sendEmailHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'delivery_unknown' });
  expect(mails.map(({ again }) => again)).toEqual([false, true]);
  expect(new Set(mails.map(({ messageIdLeft }) => messageIdLeft)).size).toBe(1);
});

test('a hard bounce puts the address on the list, and later mails to it are skipped', async () => {
  const { ports, mails, suppressed, effects, records } = memoryPorts([
    { outcome: 'refused', about: 'recipient', code: 'mailbox_refused', detail: '550 5.1.1 no such mailbox', bounce: '5.1.1' },
  ]);
  await expect(sendEmailHandler(payload, testContext(ports))).rejects.toMatchObject({ name: 'PermanentFailure', code: 'mailbox_refused' });
  expect([...suppressed]).toEqual([['Ann@example.com', '5.1.1']]);
  await expect(sendEmailHandler(payload, testContext(ports, { messageId: 'message-2' }))).resolves.toMatchObject({ status: 'skipped', reason: 'suppressed' });
  expect(mails).toHaveLength(1);
  // Nothing is claimed any more: when the address is taken off the list, a replay can send.
  expect(effects.rows.size).toBe(0);
  expect(records).toMatchObject([{ success: false }, { success: false }]);
});

test('a refusal that says nothing of the mailbox puts nobody on the list', async () => {
  const { ports, suppressed } = memoryPorts([{ outcome: 'refused', about: 'recipient', code: 'mailbox_refused', detail: '550 5.7.1 rejected' }]);
  await expect(sendEmailHandler(payload, testContext(ports))).rejects.toMatchObject({ code: 'mailbox_refused' });
  expect(suppressed.size).toBe(0);
});

test('beyond the dispatch limit a mail waits without using a try, an urgent one does not', async () => {
  const { ports, mails, waits, effects } = memoryPorts();
  waits.push(30_000);
  await expect(sendEmailHandler({ ...payload, urgent: true }, testContext(ports))).resolves.toMatchObject({ status: 'done' });
  await expect(sendEmailHandler(payload, testContext(ports, { messageId: 'message-2' }))).rejects.toMatchObject({
    name: 'RetryLater',
    code: 'dispatch_limit',
    delayMs: 30_000,
  });
  expect([mails.length, effects.rows.size]).toEqual([1, 1]);
  await expect(sendEmailHandler(payload, testContext(ports, { messageId: 'message-2' }))).resolves.toMatchObject({ status: 'done' });
});
