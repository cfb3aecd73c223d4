import { expect, test } from 'vitest';
import type { DeadLetter } from './dead-letters.ts';
import { explain } from './explain.ts';
import type { JobRow } from './jobs.ts';

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, seconds));
const job: JobRow = {
  messageId: 'm-1',
  queue: 'notification',
  name: 'notification.send-push',
  priority: 3,
  traceparent: null,
  carrier: null,
  status: 'queued',
  tenant: null,
  payload: { userId: 'ann', title: 'Family', body: 'Dinner?' },
  attempts: 0,
  failures: 0,
  result: null,
  error: null,
  history: [],
  receivedAt: at(0),
  startedAt: null,
  dueAt: null,
  finishedAt: null,
  updatedAt: at(0),
};
const letter: DeadLetter = {
  id: 7,
  messageId: 'm-1',
  source: 'bridge',
  queue: 'notification',
  routingKey: 'notification.push',
  name: null,
  reason: 'schema',
  error: { name: 'PoisonMessage', message: 'userId: expected string' },
  bodyHead: null,
  bodyBytes: null,
  payload: null,
  history: null,
  attempts: 0,
  seen: 2,
  createdAt: at(1),
  retriedAt: null,
};
const told = (changes: Partial<JobRow>) => explain({ messageId: 'm-1', job: { ...job, ...changes }, effects: [], deadLetters: [] });

test('a message nobody recorded has no explanation, and neither has another user’s', () => {
  expect(explain({ messageId: 'm-1', job: null, effects: [], deadLetters: [] })).toBeUndefined();
  expect(explain({ messageId: 'm-1', job, effects: [], deadLetters: [] }, 'bob')).toBeUndefined();
  expect(explain({ messageId: 'm-1', job, effects: [], deadLetters: [] }, 'ann')).toMatchObject({ userId: 'ann', state: 'queued', rule: null });
});

test('a message to several people is explained to each of them, and to nobody else', () => {
  const shared = { ...job, payload: { userIds: ['ann', 'bob'], title: 'Family', body: 'Dinner?' } };
  const ask = (userId: string) => explain({ messageId: 'm-1', job: shared, effects: [], deadLetters: [] }, userId);
  expect([ask('ann')?.state, ask('bob')?.state, ask('cem')]).toEqual(['queued', 'queued', undefined]);
});

test('a skipped message names the reason as its rule, and in its last step', () => {
  const story = told({
    status: 'skipped',
    result: { reason: 'no_address', detail: 'a push needs one' },
    history: [
      { at: at(1).toISOString(), event: 'started', worker: 'w-1' },
      { at: at(2).toISOString(), event: 'finished', status: 'skipped' },
    ],
  });
  expect(story?.rule).toBe('no_address');
  expect(story?.steps.map(({ stage, says }) => `${stage}: ${says}`).slice(1)).toEqual([
    'started: a run started on w-1',
    'ended: ended as skipped: no_address: a push needs one',
  ]);
});

test('a message that waits says why, and when its next run is due', () => {
  const story = told({
    status: 'retrying',
    history: [{ at: at(1).toISOString(), event: 'postponed', code: 'rate_limited', message: 'the provider asked to wait', retryInMs: 9_000 }],
  });
  expect(story?.rule).toBe('rate_limited');
  expect(story?.steps.at(-1)?.says).toBe('not now, no try used: rate_limited: the provider asked to wait; next run 2026-01-01T12:00:10.000Z');
});

test('claim, lost send and end come in order, even within one millisecond', () => {
  const story = explain({
    messageId: 'm-1',
    job: {
      ...job,
      status: 'done',
      result: {},
      history: [
        { at: at(1).toISOString(), event: 'finished', status: 'done' },
        { at: at(1).toISOString(), event: 'started' },
      ],
    },
    effects: [
      { key: 'push:m-1', state: 'confirmed', provider: null, providerId: 'p-1', detail: null, createdAt: at(1), updatedAt: at(1), report: null },
      { key: 'push:m-1:resend', state: 'unknown', provider: null, providerId: null, detail: 'no answer', createdAt: at(1), updatedAt: at(1), report: null },
    ],
    deadLetters: [],
  });
  expect(story?.rule).toBe('sent');
  expect(story?.steps.map(({ stage }) => stage)).toEqual(['recorded', 'started', 'claimed', 'claimed', 'answered', 'unknown', 'ended']);
});

test('of a mail the provider that took it is told', () => {
  const effect = {
    key: 'email:m-1',
    state: 'confirmed',
    provider: 'resend',
    providerId: 'r-1',
    detail: null,
    createdAt: at(1),
    updatedAt: at(2),
    report: null,
  } as const;
  const story = explain({ messageId: 'm-1', job, effects: [effect], deadLetters: [] });
  expect(story?.steps.at(-1)?.says).toBe('resend accepted it as r-1');
});

test('a way that was closed is told with its reason', () => {
  const whatsApp = {
    key: 'whatsapp:m-1',
    state: 'refused',
    provider: null,
    providerId: 'MM1',
    detail: 'undelivered (63024)',
    createdAt: at(1),
    updatedAt: at(2),
    report: null,
  } as const;
  const story = explain({ messageId: 'm-1', job, effects: [whatsApp], deadLetters: [] });
  expect(story?.steps.at(-1)).toMatchObject({ stage: 'answered', says: 'it does not reach the person in this way: undelivered (63024)' });
});

test.each([
  ['delivered', null, 'the provider reports it as delivered'],
  ['undelivered', 30_003, 'the provider reports it as undelivered (30003: the phone cannot be reached)'],
  ['failed', 12_345, 'the provider reports it as failed (12345)'],
])('what the provider reported afterwards is told: %s %o', (status, errorCode, says) => {
  const effect = { key: 'sms:m-1', state: 'confirmed', provider: null, providerId: 'SM1', detail: null, createdAt: at(1), updatedAt: at(2) } as const;
  const story = explain({ messageId: 'm-1', job, effects: [{ ...effect, report: { status, errorCode, at: at(3) } }], deadLetters: [] });
  expect(story?.steps.at(-1)).toEqual({ at: at(3), stage: 'reported', says });
});

test('a message the bridge refused is explained by its dead letter, also after it was published again', () => {
  expect(explain({ messageId: 'm-1', job: null, effects: [], deadLetters: [letter] })).toMatchObject({
    state: 'dead letter',
    rule: 'schema',
    steps: [{ says: 'dead letter 7 of the bridge: schema: userId: expected string, seen 2 times' }],
  });
  expect(explain({ messageId: 'm-1', job: null, effects: [], deadLetters: [{ ...letter, retriedAt: at(9) }] })).toMatchObject({
    state: 'published again',
    rule: null,
    steps: [{ stage: 'dead letter' }, { stage: 'requeued' }],
  });
});

test('no title or body is told', () => {
  expect(JSON.stringify(told({}))).not.toMatch(/Family|Dinner/);
});
