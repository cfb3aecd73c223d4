import { silentLogger } from '@backhaul/runtime';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { memoryPorts, testContext } from '../memory-ports.ts';
import type { MailMessage, Mailer } from '../mail-ports.ts';
import type { Delivery, NotificationPorts } from '../ports.ts';
import { type FailoverMailer, createFailoverMailer } from './failover-mailer.ts';
import { sendEmailHandler } from './handler.ts';

const payload = { type: 'email', userId: 'user-1', title: 'Family', body: 'Dinner?', email: 'ann@example.com' } as const;

const sent: Delivery = { outcome: 'sent', providerId: 'id' };
const lost: Delivery = { outcome: 'ambiguous', detail: 'the answer was lost' };
const away: Delivery = { outcome: 'unavailable', detail: 'nobody answers' };
const busy: Delivery = { outcome: 'deferred', about: 'provider', code: 'relay_busy', detail: '421' };
const greylisted: Delivery = { outcome: 'deferred', code: 'greylisted', detail: '451' };
const unauthorized: Delivery = { outcome: 'unauthorized', detail: '535' };
const refused: Delivery = { outcome: 'refused', about: 'recipient', code: 'mailbox_refused', detail: '550' };

/** Mails through `a`, then `b`, then `c`, each of which answers with the next of its answers, after those with `sent`. */
function world(answers: Partial<Record<'a' | 'b' | 'c', (Delivery | Error)[]>>, failures = 1_000) {
  const calls: { provider: string; answer: Delivery['outcome'] | 'threw'; message: MailMessage }[] = [];
  let time = 0;
  const provider = (name: 'a' | 'b' | 'c'): { name: string; mailer: Mailer } => ({
    name,
    mailer: {
      async send(message) {
        const answer = answers[name]?.shift() ?? sent;
        calls.push({ provider: name, answer: answer instanceof Error ? 'threw' : answer.outcome, message });
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
  });
  const mailers: FailoverMailer[] = [];
  const memory = memoryPorts();
  const routes = memory.ports.mailGuard;
  const make = (
    guard: Pick<typeof routes, 'note' | 'noted'> = routes,
    names: readonly ['a' | 'b' | 'c', ...('a' | 'b' | 'c')[]] = ['a', 'b', 'c'],
  ): NotificationPorts => {
    const [first, ...others] = names;
    const mailer = createFailoverMailer({
      providers: [provider(first), ...others.map(provider)],
      breaker: { failures, openMs: 30_000, now: () => time },
      routes: guard,
      log: silentLogger,
    });
    mailers.push(mailer);
    return { ...memory.ports, mailer };
  };
  const ports = make();
  const states = () => mailers[0]?.states() ?? [];
  return { ...memory, calls, make, ports, mailer: { states }, pass: (ms: number) => (time += ms), asked: () => calls.map((call) => call.provider).join('') };
}
const send = (ports: NotificationPorts, messageId = 'message-1') => sendEmailHandler(payload, testContext(ports, { messageId }));

test.each<[string, Delivery]>([
  ['is away', away],
  ['takes nothing now', busy],
  ['refuses our credentials', unauthorized],
])('when the first provider %s the second gets the mail in the same try', async (_what, answer) => {
  const { ports, asked } = world({ a: [answer] });
  await expect(send(ports)).resolves.toMatchObject({ status: 'done' });
  expect(asked()).toBe('ab');
});

test.each<[string, Delivery, object]>([
  ['a lost answer', lost, { code: 'delivery_ambiguous' }],
  ['greylisting', greylisted, { code: 'greylisted' }],
  ['a refusal', refused, { code: 'mailbox_refused' }],
])('%s is no reason to ask the second provider', async (_what, answer, error) => {
  const { ports, asked } = world({ a: [answer] });
  await expect(send(ports)).rejects.toMatchObject(error);
  expect(asked()).toBe('a');
});

test('after a lost answer only the provider that may have the mail is asked again, also when it was the second', async () => {
  const { ports, asked, effects, calls } = world({ a: [away], b: [lost, away, sent] });
  await expect(send(ports)).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  // It is away now: the mail waits for it, and goes to no other.
  await expect(send(ports)).rejects.toMatchObject({ code: 'provider_unavailable' });
  effects.expireLeases();
  await expect(send(ports)).resolves.toMatchObject({ status: 'done' });
  expect(asked()).toBe('abbb');
  expect(new Set(calls.map(({ message }) => message.messageIdLeft)).size).toBe(1);
});

test('a mail that may be with a provider which is not there any more is given up, and given to no other', async () => {
  const { ports, make, asked, effects } = world({ a: [lost] });
  await expect(send(ports)).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  await expect(send(make(undefined, ['b', 'c']))).rejects.toMatchObject({ name: 'PermanentFailure' });
  expect(asked()).toBe('a');
  expect([...effects.rows.values()].map(({ state }) => state)).toEqual(['unknown']);
});

test('a try that ended before it gave the mail to anybody binds it to nobody', async () => {
  const { ports, asked, effects } = world({ a: [away] });
  await effects.claim((await keyOf()) ?? '', { messageId: 'message-1', leaseMs: 1 });
  effects.expireLeases();
  await expect(send(ports)).resolves.toMatchObject({ status: 'done' });
  expect(asked()).toBe('ab');
});

/** The key under which this file's mail is claimed. */
async function keyOf() {
  const { ports, calls } = world({});
  await send(ports);
  return calls[0]?.message.key;
}

test('without the ledger nothing is given to a provider', async () => {
  const { make, asked, effects } = world({});
  const fails = () => Promise.reject(new Error('no connection'));
  await expect(send(make({ note: fails, noted: fails }))).rejects.toMatchObject({ name: 'RetryLater', code: 'database_unavailable' });
  await expect(send(make({ note: async () => false, noted: fails }))).rejects.toMatchObject({ code: 'delivery_busy' });
  expect([asked(), effects.rows.size]).toEqual(['', 0]);
});

test('a provider that fails again and again is left alone; when none is left the mail waits and uses up no try', async () => {
  const { ports, asked, pass, mailer } = world({ a: [away, away, away, away], b: [away, away], c: [away, away] }, 2);
  for (const id of ['1', '2']) await expect(send(ports, id)).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(asked()).toBe('abcabc');
  await expect(send(ports, '3')).rejects.toMatchObject({ name: 'RetryLater', code: 'mail_providers_down', delayMs: 30_000 });
  expect(asked()).toBe('abcabc');
  expect(mailer.states().map(({ provider, state }) => `${provider} ${state}`)).toEqual(['a open', 'b open', 'c open']);
  pass(30_000);
  // One of each may try: the first is still away, the second works and is closed again.
  await expect(send(ports, '3')).resolves.toMatchObject({ status: 'done' });
  await expect(send(ports, '4')).resolves.toMatchObject({ status: 'done' });
  expect(asked()).toBe('abcabcabb');
  expect(mailer.states().map(({ state }) => state)).toEqual(['open', 'closed', 'half_open']);
});

test('an adapter that throws may have sent', async () => {
  const { ports, asked } = world({ a: [new Error('bug')] });
  await expect(send(ports)).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  expect(asked()).toBe('a');
});

test('whatever the providers answer, a mail has at most one confirmed send, and after a lost answer no other provider is ever asked', async () => {
  const answer = fc.constantFrom<Delivery | Error>(sent, lost, lost, away, away, busy, greylisted, unauthorized, refused, new Error('bug'));
  await fc.assert(
    fc.asyncProperty(
      fc.record({ a: fc.array(answer, { maxLength: 6 }), b: fc.array(answer, { maxLength: 6 }), c: fc.array(answer, { maxLength: 6 }) }),
      fc.array(fc.record({ expire: fc.boolean(), passMs: fc.integer({ min: 0, max: 60_000 }), restart: fc.boolean() }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 3 }),
      async (answers, runs, failures) => {
        const { ports: firstPorts, make, calls, effects, pass } = world(structuredCopy(answers), failures);
        let ports = firstPorts;
        for (const { expire, passMs, restart } of runs) {
          // Another process has its own breakers.
          if (restart) ports = make();
          pass(passMs);
          await send(ports).catch((error: unknown) => expect(error).toBeInstanceOf(Error));
          if (expire) effects.expireLeases();
        }
        const outcomes = calls.map((call) => call.answer);
        expect(outcomes.filter((outcome) => outcome === 'sent').length).toBeLessThanOrEqual(1);
        const firstLost = calls.findIndex((call) => call.answer === 'ambiguous' || call.answer === 'threw');
        if (firstLost !== -1) {
          const after = calls.slice(firstLost);
          expect(new Set(after.map(({ provider }) => provider)).size).toBe(1);
          // One resend at most that may have been made, besides the first.
          expect(after.filter((call) => call.answer === 'ambiguous' || call.answer === 'threw' || call.answer === 'sent').length).toBeLessThanOrEqual(2);
        }
        // A confirmed or given up send is the end.
        const end = outcomes.indexOf('sent');
        if (end !== -1) expect(outcomes.slice(end + 1)).toEqual([]);
      },
    ),
    { numRuns: 500 },
  );
});

function structuredCopy<Value>(answers: Record<'a' | 'b' | 'c', Value[]>): Record<'a' | 'b' | 'c', Value[]> {
  return { a: [...answers.a], b: [...answers.b], c: [...answers.c] };
}
