import { PermanentFailure, RetryLater } from '@backhaul/queue/job';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { memoryPorts, testContext } from '../memory-ports.ts';
import type { Delivery, NotificationPorts } from '../ports.ts';
import type { SmsReport } from '../sms-ports.ts';
import { sendSmsHandler } from './handler.ts';

const template = { contentSid: `HX${'0'.repeat(32)}`, variables: { 1: 'Ann', 2: 'Dinner?\n\tat  8' } };
const payload = { type: 'sms', userId: 'user-1', title: 'Family', body: 'Dinner?', phoneNumber: '+15005550006', whatsapp: template } as const;
const waits = { defaultCountry: undefined, maxSegments: 10, perHour: { otp: 9, two_factor: 9, alert: 9, general: 9 }, whatsAppWaitMs: 60_000 };

const notThere: Delivery = { outcome: 'refused', about: 'recipient', code: 'not_in_whatsapp', detail: '63003' };
const lost: Delivery = { outcome: 'ambiguous', detail: 'timeout' };
const report = (status: string, errorCode: number | null = null): SmsReport => ({
  providerId: 'MM1',
  status,
  errorCode,
  arrived: ['delivered', 'read'].includes(status),
  undelivered: status === 'undelivered',
});

/** The state of each way in the ledger, by the first word of its key. */
function statesOf({ effects }: ReturnType<typeof memoryPorts>): Readonly<Record<string, string>> {
  return Object.fromEntries([...effects.rows].map(([key, { state }]) => [key.split(':', 1).join(), state]));
}

function world(answers: readonly Delivery[], whatsAppWaitMs = 60_000) {
  const memory = memoryPorts(answers);
  const ports: NotificationPorts = { ...memory.ports, smsPolicy: { ...waits, whatsAppWaitMs } };
  const states = () => statesOf(memory);
  return { ...memory, ports, states, run: (event: Parameters<typeof sendSmsHandler>[0] = payload) => sendSmsHandler(event, testContext(ports)) };
}

test('WhatsApp is tried first, with one line for each variable, and what arrived is no text any more', async () => {
  const { run, whatsApps, texts, reports, records } = world([]);
  await expect(run()).rejects.toMatchObject({ name: 'RetryLater', code: 'whatsapp_pending', delayMs: 2_000 });
  expect(whatsApps).toMatchObject([{ to: '+15005550006', contentSid: template.contentSid, variables: { 1: 'Ann', 2: 'Dinner? at 8' } }]);
  reports.set(whatsApps[0]?.reference ?? '', report('sent'));
  // WhatsApp has it, the phone has not: it may still turn out that nobody is there.
  await expect(run()).rejects.toMatchObject({ code: 'whatsapp_pending' });
  reports.set(whatsApps[0]?.reference ?? '', report('delivered'));
  await expect(run()).resolves.toMatchObject({ status: 'done', result: { via: 'whatsapp', providerId: 'provider-1' } });
  expect([whatsApps.length, texts.length]).toEqual([1, 0]);
  expect(records).toMatchObject([{ channel: 'sms', success: true }]);
});

test('who is not in WhatsApp gets the text, within the same run, and stays with it', async () => {
  const { run, whatsApps, texts, states } = world([notThere]);
  await expect(run()).resolves.toMatchObject({ status: 'done', result: { providerId: 'provider-1', segments: 1 } });
  await expect(run()).resolves.toMatchObject({ result: { alreadySent: true } });
  expect([whatsApps.length, texts.length]).toEqual([1, 1]);
  expect(states()).toEqual({ whatsapp: 'refused', sms: 'confirmed' });
});

test('a message that WhatsApp took and could not deliver is followed by the text', async () => {
  const { run, whatsApps, texts, reports, states } = world([]);
  await expect(run()).rejects.toMatchObject({ code: 'whatsapp_pending' });
  expect(states()).toEqual({ whatsapp: 'confirmed' });
  reports.set(whatsApps[0]?.reference ?? '', report('undelivered', 63_024));
  await expect(run()).resolves.toMatchObject({ status: 'done', result: { segments: 1 } });
  expect([whatsApps.length, texts.length]).toEqual([1, 1]);
  expect(states()).toEqual({ whatsapp: 'refused', sms: 'confirmed' });
});

test('when nothing is reported in time the message counts as sent; where nobody reports, at once', async () => {
  const late = world([]);
  await expect(late.run()).rejects.toMatchObject({ code: 'whatsapp_pending' });
  for (const row of late.effects.rows.values()) row.confirmedAt = new Date(Date.now() - 60_000);
  await expect(late.run()).resolves.toMatchObject({ status: 'done' });
  const silent = world([], 0);
  await expect(silent.run()).resolves.toMatchObject({ status: 'done', result: { via: 'whatsapp' } });
  expect([late.texts.length, silent.texts.length]).toEqual([0, 0]);
});

test('after a lost answer there is no text, until a report says that nothing arrived', async () => {
  const { run, whatsApps, texts, effects, reports, states } = world([lost]);
  await expect(run()).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  await expect(run()).rejects.toMatchObject({ name: 'RetryLater', code: 'delivery_ambiguous' });
  expect(texts).toEqual([]);
  effects.expireLeases();
  reports.set(whatsApps[0]?.reference ?? '', report('undelivered', 63_016));
  await expect(run()).resolves.toMatchObject({ status: 'done' });
  expect([whatsApps.length, texts.length]).toEqual([1, 1]);
  expect(states()).toEqual({ whatsapp: 'refused', sms: 'confirmed' });
});

test('a lost answer that nobody reports about ends as unknown, without a text', async () => {
  const { run, texts, effects } = world([lost], 0);
  await expect(run()).rejects.toMatchObject({ code: 'delivery_ambiguous' });
  effects.expireLeases();
  for (let again = 0; again < 2; again += 1) await expect(run()).rejects.toMatchObject({ name: 'PermanentFailure', code: 'delivery_unknown' });
  expect(texts).toEqual([]);
});

test.each<[string, Delivery, string]>([
  ['an opt-out', { outcome: 'refused', about: 'recipient', code: 'opted_out', detail: '21610' }, 'opted_out'],
  ['a template that is wrong', { outcome: 'refused', about: 'message', code: 'invalid_message', detail: '21656' }, 'invalid_message'],
  ['a provider that is busy', { outcome: 'deferred', code: 'rate_limited', detail: '429' }, 'rate_limited'],
  ['a provider that is away', { outcome: 'unavailable', detail: 'ECONNREFUSED' }, 'provider_unavailable'],
  ['refused credentials', { outcome: 'unauthorized', detail: '401' }, 'channel_unauthorized'],
])('%s sends no text', async (_name, answer, code) => {
  const { run, texts, states } = world([answer]);
  await expect(run()).rejects.toMatchObject({ code });
  expect([texts, states()]).toEqual([[], {}]);
});

test('an opt-out that is reported ends the message, and nothing is sent to that number', async () => {
  const { run, whatsApps, texts, reports } = world([]);
  await expect(run()).rejects.toMatchObject({ code: 'whatsapp_pending' });
  reports.set(whatsApps[0]?.reference ?? '', report('undelivered', 21_610));
  await expect(run()).rejects.toMatchObject({ name: 'PermanentFailure', code: 'opted_out' });
  expect(texts).toEqual([]);
});

test('where WhatsApp is not configured the text goes out, and a try that follows does not change that', async () => {
  const { run, whatsApps, texts, states } = world([
    { outcome: 'unconfigured', detail: 'not set' },
    { outcome: 'unavailable', detail: 'away' },
  ]);
  await expect(run()).rejects.toMatchObject({ code: 'provider_unavailable' });
  await expect(run()).resolves.toMatchObject({ status: 'done' });
  expect([whatsApps.length, texts.length]).toEqual([1, 2]);
  expect(states()).toEqual({ whatsapp: 'refused', sms: 'confirmed' });
});

/** What the provider does with a request, which we cannot see, and what it answers. */
const requests = fc.oneof(
  fc.record({ answer: fc.constant<Delivery['outcome'] | 'throws'>('sent'), taken: fc.constant(true), arrives: fc.boolean() }),
  fc.record({ answer: fc.constantFrom<Delivery['outcome'] | 'throws'>('ambiguous', 'throws'), taken: fc.boolean(), arrives: fc.boolean() }),
  fc.record({
    answer: fc.constantFrom<Delivery['outcome'] | 'throws'>('refused', 'deferred', 'unavailable', 'unauthorized', 'unconfigured'),
    taken: fc.constant(false),
    arrives: fc.constant(false),
  }),
);
/** What happens between the runs of the job. */
const steps = fc.constantFrom('run', 'run', 'run twice at once', 'leases run out', 'reports come', 'the wait is over', 'the ledger fails once');

test('whatever the provider answers and reports, and however often the job runs, nobody gets the message twice', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(requests, { maxLength: 6 }),
      fc.array(steps, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(0, 60_000),
      async (script, plan, waitMs) => {
        const memory = memoryPorts();
        const queue = [...script];
        let arrived = 0;
        let ledgerFails = false;
        const fates: { reference: string; arrives: boolean }[] = [];
        const sends: string[] = [];
        // Kept, not thrown: what a sender throws counts as a lost answer.
        const wrong: string[] = [];
        const sender = (way: 'whatsapp' | 'sms') => ({
          async send({ reference }: { reference: string }): Promise<Delivery> {
            const whatsapp = statesOf(memory)['whatsapp'] ?? 'not tried';
            if (way === 'sms' && whatsapp !== 'refused') wrong.push(`a text while WhatsApp is ${whatsapp}`);
            sends.push(way);
            const { answer, taken, arrives } = queue.shift() ?? { answer: 'sent', taken: true, arrives: true };
            if (taken) {
              if (arrives || way === 'sms') arrived += 1;
              if (way === 'whatsapp') fates.push({ reference, arrives });
            }
            if (answer === 'throws') throw new Error('killed');
            if (answer === 'sent') return { outcome: 'sent', providerId: `${way}-${sends.length}` };
            if (answer === 'refused') return { ...notThere };
            if (answer === 'deferred') return { outcome: 'deferred', code: 'rate_limited', detail: 'later' };
            return { outcome: answer, detail: answer };
          },
        });
        const failing =
          <Arguments extends unknown[], Answer>(call: (...given: Arguments) => Promise<Answer>) =>
          (...given: Arguments) => {
            if (!ledgerFails) return call(...given);
            ledgerFails = false;
            return Promise.reject(new Error('the ledger is away'));
          };
        const { effects } = memory;
        const ports: NotificationPorts = {
          ...memory.ports,
          smsPolicy: { ...waits, whatsAppWaitMs: waitMs },
          whatsApp: sender('whatsapp'),
          // Its holds would end most plans at the first refusal of credentials.
          brake: { hold: async () => undefined, held: async () => undefined },
          sms: { ...memory.ports.sms, ...sender('sms') },
          effects: { ...effects, disprove: failing(effects.disprove), release: failing(effects.release), giveUp: failing(effects.giveUp) },
        };
        const run = async () => {
          try {
            await sendSmsHandler(payload, testContext(ports));
          } catch (error) {
            if (
              !(
                error instanceof RetryLater ||
                error instanceof PermanentFailure ||
                (error instanceof Error && /ledger is away|did not take/.test(error.message))
              )
            )
              throw error;
          }
        };
        for (const step of plan) {
          if (step === 'run') await run();
          else if (step === 'run twice at once') await Promise.all([run(), run()]);
          else if (step === 'leases run out') effects.expireLeases();
          else if (step === 'reports come')
            for (const { reference, arrives } of fates) memory.reports.set(reference, report(arrives ? 'delivered' : 'undelivered', arrives ? null : 63_024));
          else if (step === 'the wait is over') for (const row of effects.rows.values()) row.confirmedAt = new Date(0);
          else ledgerFails = true;
          const confirmed = [...effects.rows.values()].filter(({ state }) => state === 'confirmed');
          expect(confirmed.length).toBeLessThanOrEqual(1);
        }
        expect({ wrong, arrived: Math.min(arrived, 1) }).toEqual({ wrong: [], arrived });
      },
    ),
    { numRuns: 500 },
  );
}, 60_000);
