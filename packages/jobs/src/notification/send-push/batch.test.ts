import { type BatchMessage, type Outcome, PermanentFailure } from '@backhaul/queue/job';
import { silentLogger } from '@backhaul/runtime';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { effectKey } from '../effect-key.ts';
import { leaseMs } from '../limits.ts';
import { memoryPorts, testContext } from '../memory-ports.ts';
import type { PolicyFacts, PolicyPort } from '../policy/port.ts';
import type { Delivery, NotificationPorts, PushMessage } from '../ports.ts';
import { sendPushBatch } from './batch.ts';
import { sendPushHandler } from './handler.ts';
import type { PushPayload } from './message.ts';

const receivedAt = new Date();
const text = { type: 'push', title: 'Family', body: 'Dinner?' } as const;
const sent: Delivery = { outcome: 'sent', providerId: 'provider' };
const gone: Delivery = { outcome: 'refused', about: 'recipient', code: 'unregistered', detail: 'gone' };

/** Nothing is on record of anybody, but that what is said about them. */
function policyOf(facts: ReadonlyMap<string, Partial<PolicyFacts>>, settings: PolicyPort['settings'] = { perHour: {}, mailWaitMs: 0 }): PolicyPort {
  const none: PolicyFacts = {
    ...{ receivedAt, withdrawn: false, enabled: null, senderBlocked: false, leftChat: false, messageDeleted: false, readUpTo: null },
    ...{ muted: false, mutedUntil: null, mutedExceptMentions: null, active: false, quietWindows: [] },
  };
  return {
    facts: async (requests) => requests.map(({ userId }) => ({ ...none, ...facts.get(userId) })),
    change: async (_key, change) => change(undefined, Date.now()).answer,
    coalescing: {
      find: async () => undefined,
      change: async (_key, _messageId, change) => ({ answer: change(undefined, Date.now()).answer }),
    },
    settings,
  };
}

/** A batch, and then each message as the worker runs it: by its answer, or by the handler. */
async function runAll(messages: readonly BatchMessage<PushPayload>[], ports: NotificationPorts, together: boolean): Promise<Map<string, unknown>> {
  const answers = together ? await sendPushBatch(messages, { ports, log: silentLogger, signal: new AbortController().signal }) : new Map<string, never>();
  const ends = new Map<string, unknown>();
  for (const { messageId, payload } of messages) {
    const answer = answers.get(messageId) ?? sendPushHandler;
    if (typeof answer !== 'function') ends.set(messageId, answer);
    else ends.set(messageId, await answer(payload, testContext(ports, { messageId, receivedAt })).catch(endOf));
  }
  return ends;
}

/** What an error says about the job. A wait is for about so long. */
function endOf(error: unknown): object {
  const { name, code, delayMs } = error as { name: string; code?: string; delayMs?: number };
  return { name, code, ...(delayMs === undefined ? {} : { delaySeconds: Math.round(delayMs / 10_000) }) };
}

const toDevice = (messageId: string, more: Partial<PushPayload> = {}): BatchMessage<PushPayload> => ({
  messageId,
  receivedAt,
  payload: { ...text, userId: `user of ${messageId}`, fcmToken: `device of ${messageId}`, ...more },
});

/** The batch alone: what it answers, and the ports that it used. */
async function batch(messages: readonly BatchMessage<PushPayload>[], changes: Partial<NotificationPorts> = {}, answers: readonly Delivery[] = []) {
  const world = memoryPorts(answers);
  const ports = { ...world.ports, ...changes };
  const said = await sendPushBatch(messages, { ports, log: silentLogger, signal: new AbortController().signal });
  return { ...world, ports, said, kinds: messages.map(({ messageId }) => kindOf(said.get(messageId))) };
}

function kindOf(answer: Outcome | ((...all: never[]) => unknown) | undefined): string {
  if (answer === undefined) return 'untouched';
  return typeof answer === 'function' ? 'goes on' : answer.status;
}

test('pushes are claimed, sent, confirmed and shown together, and each has its end', async () => {
  const { said, pushes, records, effects, heard } = await batch([toDevice('a'), toDevice('b')]);
  expect([...said]).toEqual([
    ['a', { status: 'done', result: { channel: 'push', providerId: 'provider-1' } }],
    ['b', { status: 'done', result: { channel: 'push', providerId: 'provider-2' } }],
  ]);
  expect(pushes.map(({ token }) => token)).toEqual(['device of a', 'device of b']);
  expect([...effects.rows.values()].map(({ messageId, state }) => [messageId, state])).toEqual([
    ['a', 'confirmed'],
    ['b', 'confirmed'],
  ]);
  expect(records.map(({ messageId, userId, success }) => [messageId, userId, success])).toEqual([
    ['a', 'user of a', true],
    ['b', 'user of b', true],
  ]);
  expect(heard.map(({ token, says }) => [token, says])).toEqual([
    ['device of a', 'reached'],
    ['device of b', 'reached'],
  ]);
});

test('what is gathered or counted, goes to all devices of users, or is too large is none for a batch', async () => {
  const messages = [
    toDevice('chat', { category: 'message', chatId: '42' }),
    toDevice('users', { fcmToken: undefined }),
    toDevice('large', { body: 'x'.repeat(5_000) }),
    toDevice('plain'),
  ];
  const coalescing = policyOf(new Map(), { perHour: {}, mailWaitMs: 0, coalesce: { quietMs: 1_000, maxWaitMs: 5_000 } });
  expect((await batch(messages, { policy: coalescing })).kinds).toEqual(['untouched', 'untouched', 'untouched', 'done']);
  const capped = await batch([toDevice('plain'), toDevice('urgent', { urgent: true })], {
    policy: policyOf(new Map(), { perHour: { push: 5 }, mailWaitMs: 0 }),
  });
  expect(capped.kinds).toEqual(['untouched', 'done']);
});

test('while the channel is held nothing is claimed', async () => {
  const { kinds, effects } = await batch([toDevice('a')], {
    brake: { hold: async () => undefined, held: async () => ({ forMs: 1_000, reason: 'rate_limited' }) },
  });
  expect([kinds, effects.rows.size]).toEqual([['untouched'], 0]);
});

test('when the facts cannot be read, each goes on with its claim, and none is taken for lost', async () => {
  const away = Object.assign(new Error('the database is not available'), { code: 'database_unavailable' });
  const { kinds, said, ports, pushes, effects } = await batch([toDevice('a')], { policy: { ...policyOf(new Map()), facts: () => Promise.reject(away) } });
  expect([kinds, pushes.length]).toEqual([['goes on'], 0]);
  const goOn = said.get('a');
  if (typeof goOn !== 'function') throw new Error('it has ended');
  await expect(goOn(toDevice('a').payload, testContext(ports, { messageId: 'a', receivedAt }))).rejects.toMatchObject({ code: 'database_unavailable' });
  expect(effects.rows.size).toBe(0);
});

test('when what was sent cannot be shown, the message finds itself confirmed and is shown then', async () => {
  const { ports } = memoryPorts();
  const broken = { ...ports.notifications, recordAll: () => Promise.reject(new Error('broken')) };
  const { kinds, pushes, records, ports: all } = await batch([toDevice('a')], { notifications: broken });
  expect([kinds, pushes.length]).toEqual([['untouched'], 1]);
  const context = testContext({ ...all, notifications: { ...broken, record: async (row) => void records.push(row) } }, { messageId: 'a', receivedAt });
  await expect(sendPushHandler(toDevice('a').payload, context)).resolves.toMatchObject({ status: 'done', result: { alreadySent: true } });
  expect([pushes.length, records.map(({ success }) => success)]).toEqual([1, [true]]);
});

test('a push that hangs holds up none of its neighbours, and goes on with the send that was begun', async () => {
  const answer = Promise.withResolvers<Delivery>();
  const asked: PushMessage[] = [];
  const push = {
    send(message: PushMessage) {
      asked.push(message);
      return message.token === 'device of slow' ? answer.promise : Promise.resolve(sent);
    },
  };
  const { said, ports, kinds, heard } = await batch([toDevice('slow'), ...Array.from({ length: 9 }, (_, n) => toDevice(`fast ${n}`))], { push });
  expect(kinds).toEqual(['goes on', ...Array.from({ length: 9 }, () => 'done')]);
  const goOn = said.get('slow');
  if (typeof goOn !== 'function') throw new Error('it has ended');
  const ended = goOn(toDevice('slow').payload, testContext(ports, { messageId: 'slow', receivedAt }));
  answer.resolve(sent);
  await expect(ended).resolves.toMatchObject({ status: 'done', result: { providerId: 'provider' } });
  expect(asked).toHaveLength(10);
  expect(heard.map(({ token }) => token)).toContain('device of slow');
});

test('a stop while sends are under way reaches each of them', async () => {
  const end = new AbortController();
  const { ports } = memoryPorts();
  const push = {
    send: (_message: PushMessage, signal: AbortSignal) =>
      new Promise<Delivery>((resolve) => signal.addEventListener('abort', () => resolve({ outcome: 'ambiguous', detail: String(signal.reason) }))),
  };
  const said = sendPushBatch([toDevice('a'), toDevice('b')], { ports: { ...ports, push }, log: silentLogger, signal: end.signal });
  await new Promise((resolve) => setImmediate(resolve));
  end.abort(new Error('stopping'));
  expect([...(await said).values()].map(kindOf)).toEqual(['goes on', 'goes on']);
});

const answers: readonly (Delivery | Error)[] = [
  sent,
  gone,
  { outcome: 'refused', about: 'message', code: 'invalid_payload', detail: 'bad key' },
  { outcome: 'deferred', code: 'provider_busy', detail: '503', retryAfterMs: 30_000 },
  { outcome: 'unavailable', detail: '503' },
  { outcome: 'unconfigured', detail: 'set it' },
  { outcome: 'unauthorized', detail: '401', about: 'platform' },
  { outcome: 'ambiguous', detail: 'reset' },
  new Error('a broken adapter'),
];
const factsOfUser: readonly Partial<PolicyFacts>[] = [
  {},
  {},
  { withdrawn: true },
  { enabled: false },
  { readUpTo: new Date(Date.now() + 60_000) },
  { muted: true },
];
const ledgerStates = ['none', 'none', 'confirmed', 'busy', 'lost', 'unknown'] as const;
const kinds = ['device', 'device', 'users', 'large', 'urgent', 'expired'] as const;

interface Letter {
  readonly kind: (typeof kinds)[number];
  readonly answer: Delivery | Error;
  readonly facts: Partial<PolicyFacts>;
  readonly ledger: (typeof ledgerStates)[number];
}

/** What is there when everything has been run, in a batch first or not. */
async function aftermath(letters: readonly Letter[], together: boolean) {
  const world = memoryPorts();
  const sends: string[] = [];
  const push = {
    async send({ token }: PushMessage): Promise<Delivery> {
      sends.push(token);
      const { answer } = letters[Number(token.slice(1))] ?? { answer: sent };
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  const ports = { ...world.ports, push, policy: policyOf(new Map(letters.map(({ facts }, n) => [`u${n}`, facts]))) };
  for (const [n, { ledger }] of letters.entries()) {
    if (ledger === 'none') continue;
    const key = effectKey('push', `m${n}`, `d${n}`);
    const claim = await world.effects.claim(key, { messageId: `m${n}`, leaseMs });
    if (claim.state !== 'claimed') throw new Error('the ledger is not empty');
    if (ledger === 'confirmed') await world.effects.confirm(key, claim.token, 'earlier');
    if (ledger === 'unknown') await world.effects.giveUp(key, claim.token, 'lost');
    const row = world.effects.rows.get(key);
    if (row !== undefined && ledger === 'lost') row.expired = true;
  }
  const messages = letters.map(({ kind }, n) => ({
    messageId: `m${n}`,
    receivedAt,
    payload: {
      ...{ ...text, userId: `u${n}`, fcmToken: kind === 'users' ? undefined : `d${n}` },
      ...(kind === 'large' ? { body: 'x'.repeat(5_000) } : {}),
      ...(kind === 'urgent' ? { urgent: true } : {}),
      ...(kind === 'expired' ? { expiresAt: new Date(receivedAt.getTime() - 1_000).toISOString() } : {}),
    } satisfies PushPayload,
  }));
  const ends = await runAll(messages, ports, together);
  return {
    ends,
    sends: sends.sort(),
    effects: [...world.effects.rows].map(([key, { state, providerId }]) => `${key} ${state} ${providerId}`).sort(),
    records: world.records.map(({ messageId, success }) => `${messageId} ${success}`).sort(),
    heard: world.heard.map(({ token, says }) => `${token} ${says}`).sort(),
  };
}

test('whatever is on record and whatever the provider says, a message ends in a batch as it does by itself', async () => {
  const letter = fc.record({
    kind: fc.constantFrom(...kinds),
    answer: fc.constantFrom(...answers),
    facts: fc.constantFrom(...factsOfUser),
    ledger: fc.constantFrom(...ledgerStates),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(letter, { minLength: 1, maxLength: 12 }), async (letters) => {
      expect(await aftermath(letters, true)).toEqual(await aftermath(letters, false));
    }),
    { numRuns: 300 },
  );
});

test('a message that was refused goes on to the dead letter that it is by itself', async () => {
  const { said, ports, records, effects } = await batch([toDevice('a')], {}, [gone]);
  const goOn = said.get('a');
  if (typeof goOn !== 'function') throw new Error('it has ended');
  await expect(goOn(toDevice('a').payload, testContext(ports, { messageId: 'a' }))).rejects.toBeInstanceOf(PermanentFailure);
  expect([effects.rows.size, records.map(({ success }) => success)]).toEqual([0, [false]]);
});
