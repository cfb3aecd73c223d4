import type { JobContext } from '@backhaul/queue/job';
import { silentLogger } from '@backhaul/runtime';
import { memoryEffects } from './memory-effects.ts';
import type { MailMessage } from './mail-ports.ts';
import type { Delivery, NotificationPorts, NotificationRecord, PushMessage } from './ports.ts';
import type { PushDevice, TokenAnswer } from './send-push/devices.ts';
import type { SmsList, SmsReport, TextMessage, WhatsAppMessage } from './sms-ports.ts';
import type { Withdrawal } from './withdraw/withdrawals.ts';

/** A message of any channel. */
type AnyMessage = PushMessage | MailMessage | TextMessage | WhatsAppMessage;

/** Ports in memory: every send is kept, and answered with the next of `answers`, after those with `sent`. */
export function memoryPorts(answers: readonly (Delivery | Error)[] = []) {
  const queue = [...answers];
  const pushes: PushMessage[] = [];
  const mails: MailMessage[] = [];
  const texts: TextMessage[] = [];
  const whatsApps: WhatsAppMessage[] = [];
  const records: NotificationRecord[] = [];
  const withdrawals: Withdrawal[] = [];
  const effects = memoryEffects();
  const devices: PushDevice[] = [];
  const heard: TokenAnswer[] = [];
  const holds = new Map<string, { forMs: number; reason: string }>();
  const lists: SmsList[] = [];
  const optedOut = new Set<string>();
  const takes = new Map<string, string[]>();
  const received = new Map<string, Date>();
  const suppressed = new Map<string, string>();
  const providers = new Map<string, string>();
  const waits: number[] = [];
  const reports = new Map<string, SmsReport>();
  const sender = <Message extends AnyMessage>(kept: Message[]) => ({
    async send(message: Message): Promise<Delivery> {
      kept.push(message);
      const answer = queue.shift() ?? { outcome: 'sent', providerId: `provider-${kept.length}` };
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  const ports: NotificationPorts = {
    push: sender(pushes),
    devices: {
      ofUsers: async (userIds) => devices.filter(({ userId }) => userIds.includes(userId)),
      async heard(answers) {
        heard.push(...answers);
      },
    },
    mailer: sender(mails),
    mailPolicy: { perMinute: 60 },
    mailGuard: {
      isSuppressed: async (address) => suppressed.has(address),
      async suppress(address, { code }) {
        suppressed.set(address, code);
      },
      // Each waits for the next of `waits`, after those for nothing.
      async take(_messageId, options) {
        const retryAfterMs = options.waits ? (waits.shift() ?? 0) : 0;
        return { allowed: retryAfterMs === 0, retryAfterMs };
      },
      async note(key, provider) {
        if (effects.rows.get(key)?.state !== 'claimed') return false;
        providers.set(key, provider);
        return true;
      },
      noted: async (key) => providers.get(key),
    },
    // Lists the next of `lists`, after those nothing.
    sms: { ...sender(texts), list: async () => lists.shift() ?? { outcome: 'listed', messages: [] } },
    whatsApp: sender(whatsApps),
    smsPolicy: { maxSegments: 10, perHour: { otp: 2, two_factor: 2, alert: 2, general: 2 }, whatsAppWaitMs: 0 },
    smsGuard: {
      isOptedOut: async (number) => optedOut.has(number),
      async optOut(number) {
        optedOut.add(number);
      },
      async take(number, { class: textClass, messageId, limit, windowMs }) {
        const key = `${number} ${textClass}`;
        const ids = takes.get(key) ?? [];
        takes.set(key, ids);
        if (!ids.includes(messageId) && ids.length < limit) ids.push(messageId);
        return { allowed: ids.includes(messageId), retryAfterMs: windowMs };
      },
      confirmedAmong: async (ids) => new Set(ids.filter((id) => [...effects.rows.values()].some((row) => row.providerId === id))),
      receivedAt: async (messageId) => received.get(messageId),
    },
    smsReports: { ofSend: async (reference) => reports.get(reference) },
    effects,
    withdrawals: {
      async add(withdrawal) {
        withdrawals.push(withdrawal);
      },
    },
    brake: {
      async hold(channel, forMs, reason) {
        holds.set(channel, { forMs, reason });
      },
      held: async (channel) => holds.get(channel),
    },
    notifications: {
      async record(record) {
        records.push(record);
      },
      async recordAll(all) {
        records.push(...all);
      },
      async recordEach(each) {
        records.push(...each);
      },
    },
  };
  return {
    ports,
    pushes,
    devices,
    heard,
    holds,
    mails,
    texts,
    whatsApps,
    records,
    effects,
    lists,
    optedOut,
    received,
    reports,
    suppressed,
    waits,
    withdrawals,
  };
}

/** A handler's context in a test. */
export function testContext(ports: NotificationPorts, changes: Partial<JobContext<NotificationPorts>> = {}): JobContext<NotificationPorts> {
  return { ports, signal: new AbortController().signal, log: silentLogger, messageId: 'message-1', attempt: 1, lastTry: false, progress() {}, ...changes };
}
