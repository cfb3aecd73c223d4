import { type NotificationCategory, notificationCategories } from '@backhaul/events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isUrgent } from './category.ts';
import { type Facts, decide, policyRules } from './decide.ts';

const now = Date.UTC(2026, 5, 1, 23);
const minuteMs = 60_000;
const always = [{ startMinute: 0, endMinute: 0, days: [1, 2, 3, 4, 5, 6, 7], timeZone: 'UTC' }];
const night = [{ startMinute: 22 * 60, endMinute: 7 * 60, days: [1, 2, 3, 4, 5, 6, 7], timeZone: 'UTC' }];

const facts = (change: Partial<Facts> = {}): Facts => ({
  channel: 'push',
  category: 'message',
  urgent: false,
  sentAt: now - 1_000,
  expiresAt: undefined,
  withdrawn: false,
  enabled: undefined,
  senderBlocked: false,
  leftChat: false,
  messageDeleted: false,
  readUpTo: undefined,
  mute: undefined,
  activeElsewhere: false,
  quietWindows: [],
  mailWaitMs: 15 * minuteMs,
  ...change,
});

/** For each rule, what makes it hold. */
const causes: Readonly<Record<(typeof policyRules)[number], Partial<Facts>>> = {
  withdrawn: { withdrawn: true },
  preference_off: { enabled: false },
  blocked: { senderBlocked: true },
  left_chat: { leftChat: true },
  message_deleted: { messageDeleted: true },
  already_read: { readUpTo: now - 1_000 },
  too_old: { expiresAt: now },
  chat_muted: { mute: { until: null, exceptMentions: false } },
  active_elsewhere: { activeElsewhere: true },
  unread_wait: { channel: 'email' },
  quiet_hours: { quietWindows: night },
};

test('a notification about which nothing is known is sent', () => {
  expect(decide(facts(), now)).toEqual({ action: 'send', rule: 'sent' });
  expect(decide(facts({ category: undefined }), now)).toEqual({ action: 'send', rule: 'sent' });
});

test.each(policyRules)('%s decides by itself', (rule) => {
  expect(decide(facts(causes[rule]), now)).toMatchObject({ rule });
});

test('of several rules the first in the order decides', () => {
  fc.assert(
    fc.property(fc.subarray([...policyRules], { minLength: 1 }), (holding) => {
      const all = Object.assign({}, ...holding.map((rule) => causes[rule])) as Partial<Facts>;
      expect(decide(facts(all), now)).toMatchObject({ rule: holding[0] });
    }),
  );
});

test('urgent ones go through what may be overridden, and through nothing else', () => {
  fc.assert(
    fc.property(fc.subarray([...policyRules]), (holding) => {
      const all = Object.assign({}, ...holding.map((rule) => causes[rule])) as Partial<Facts>;
      const decision = decide(facts({ ...all, category: 'security', urgent: true, sentAt: now - 1_000 }), now);
      const final = holding.filter((rule) => policyRules.indexOf(rule) < policyRules.indexOf('chat_muted'));
      if (final.length > 0) expect(decision).toMatchObject({ action: 'suppress', rule: final[0] });
      else {
        // A security notice is none of those that being in the app, or reading, makes needless.
        const overridden = holding.some((rule) => rule === 'chat_muted' || rule === 'quiet_hours');
        expect(decision).toEqual({ action: 'send', rule: overridden ? 'urgent_override' : 'sent' });
      }
    }),
  );
});

test('the same facts at the same moment are decided the same, and a delay ends later than now', () => {
  const some = fc.record({
    channel: fc.constantFrom('push' as const, 'email' as const, 'sms' as const),
    category: fc.option(fc.constantFrom(...notificationCategories), { nil: undefined }),
    urgent: fc.boolean(),
    sentAt: fc.integer({ min: now - 200_000_000, max: now }),
    expiresAt: fc.option(fc.integer({ min: now - 1_000, max: now + 100_000_000 }), { nil: undefined }),
    enabled: fc.option(fc.boolean(), { nil: undefined }),
    readUpTo: fc.option(fc.integer({ min: now - 200_000_000, max: now }), { nil: undefined }),
    mute: fc.option(fc.record({ until: fc.option(fc.integer({ min: now - 9, max: now + 9 })), exceptMentions: fc.boolean() }), { nil: undefined }),
    activeElsewhere: fc.boolean(),
    quietWindows: fc.constantFrom([], night, always),
  });
  fc.assert(
    fc.property(some, (change) => {
      const decision = decide(facts(change), now);
      expect(decide(facts(structuredClone(change)), now)).toEqual(decision);
      if (decision.action !== 'delay') return;
      expect(decision.until).toBeGreaterThan(now);
      // At its end the rule does not hold any more, and what it was of use until has not come.
      expect(decide(facts(change), decision.until)).not.toMatchObject({ rule: decision.rule });
      expect(decide(facts(change), decision.until)).not.toMatchObject({ rule: 'too_old' });
    }),
    { numRuns: 1_000 },
  );
});

test('what would be of no use at the end of the wait is not sent at all', () => {
  const until = Date.UTC(2026, 5, 2, 7);
  expect(decide(facts({ quietWindows: night }), now)).toMatchObject({ action: 'delay', rule: 'quiet_hours', until });
  expect(decide(facts({ quietWindows: night, expiresAt: until }), now)).toMatchObject({ action: 'suppress', rule: 'quiet_hours' });
  expect(decide(facts({ quietWindows: night, expiresAt: until + 1 }), now)).toMatchObject({ action: 'delay' });
  expect(decide(facts({ quietWindows: always }), now)).toMatchObject({ action: 'suppress', rule: 'quiet_hours' });
});

test('a mute ends, and lets mentions through if it says so', () => {
  const muted = (until: number | null, exceptMentions: boolean, category: NotificationCategory) =>
    decide(facts({ mute: { until, exceptMentions }, category }), now).rule;
  expect(muted(now + 1, false, 'message')).toBe('chat_muted');
  expect(muted(now, false, 'message')).toBe('sent');
  expect(muted(null, true, 'mention')).toBe('sent');
  expect(muted(null, false, 'mention')).toBe('chat_muted');
});

test('a mail about a message waits for it to be read, any other mail does not', () => {
  const sentAt = now - 5 * minuteMs;
  expect(decide(facts({ channel: 'email', sentAt }), now)).toMatchObject({ action: 'delay', rule: 'unread_wait', until: sentAt + 15 * minuteMs });
  expect(decide(facts({ channel: 'email', sentAt, readUpTo: sentAt }), now).rule).toBe('already_read');
  expect(decide(facts({ channel: 'email', sentAt, category: 'security', urgent: true }), now).rule).toBe('sent');
  expect(decide(facts({ channel: 'email', sentAt, category: undefined }), now).rule).toBe('sent');
});

test.each([
  ['call', minuteMs],
  ['message', 24 * 60 * minuteMs],
  ['marketing', 72 * 60 * minuteMs],
] as const)('a %s is too old after its time', (category, freshMs) => {
  expect(decide(facts({ category, sentAt: now - freshMs + 1 }), now).rule).toBe('sent');
  expect(decide(facts({ category, sentAt: now - freshMs }), now).rule).toBe('too_old');
});

test('urgent is what the category says, else what the event says, else what the class of the text message says', () => {
  expect(isUrgent({ category: 'marketing', urgent: true })).toBe(false);
  expect(isUrgent({ category: 'call' })).toBe(true);
  expect(isUrgent({ urgent: true })).toBe(true);
  expect(isUrgent({ class: 'otp' })).toBe(true);
  expect(isUrgent({ class: 'otp', urgent: false })).toBe(false);
  expect(isUrgent({ class: 'general' })).toBe(false);
  expect(isUrgent({})).toBe(false);
});
