import { type JobContext, type Outcome, PermanentFailure, RetryLater } from '@backhaul/queue/job';
import { deliverOnce } from '../deliver-once.ts';
import { judge } from '../policy/ask.ts';
import { keepRecords, withoutLedger } from '../notify.ts';
import type { NotificationPorts, NotificationRecord } from '../ports.ts';
import type { PushDevice, TokenAnswer } from './devices.ts';
import { inParallel } from './in-parallel.ts';
import { type PushPayload, checkSize, toDevice } from './message.ts';
import { type DeviceResult, Tally } from './tally.ts';

/** Users whose devices are looked up at once. */
const usersPerPage = 500;
/** Sends of one job that are under way at once. Each has a connection of its own to the provider, and handshakes are dear. */
const maxInFlight = 100;
/** For how long a run begins new sends. The last of them must end within the job's limit; what is left is the next run's. */
const sendingMs = 9_000;
/** What one device is told, and every other one would be told as well: asking for the rest would be thousands of requests, or claims, for nothing. */
const endsTheRun = new Set(['database_unavailable', 'channel_held', 'channel_unauthorized', 'channel_not_configured']);

/**
 * Sends one push to every device of its users. Each device has its own claim
 * in the ledger: a later run sends to those that did not get it, and one that
 * is gone stops nobody else.
 */
export async function pushToUsers(payload: PushPayload, context: JobContext<NotificationPorts>): Promise<Outcome> {
  const users = [...new Set(payload.userIds ?? (payload.userId === undefined ? [] : [payload.userId]))];
  const tally = new Tally();
  const base = { messageId: context.messageId, channel: 'push', title: payload.title, body: payload.body } as const;
  const record = (userIds: readonly string[], final: boolean) => {
    const records: NotificationRecord[] = tally.records(userIds, { final }).map((each) => ({ ...base, ...each }));
    const [only] = records;
    // One row of the message where it has one reader, as for every other channel.
    if (payload.userIds === undefined) return only === undefined ? Promise.resolve() : context.ports.notifications.record(only);
    return context.ports.notifications.recordEach(records);
  };
  return keepRecords(
    context,
    async () => {
      for (const userId of users) tally.addUser(userId);
      checkSize(payload);
      await sendPages(payload, context, { users, tally, record: (page) => record(page, false) });
      return tally.outcome();
    },
    () => record(users, true),
  );
}

interface Pages {
  readonly users: readonly string[];
  readonly tally: Tally;
  record(page: readonly string[]): Promise<void>;
}

async function sendPages(payload: PushPayload, context: JobContext<NotificationPorts>, { users, tally, record }: Pages): Promise<void> {
  const { devices, effects } = context.ports;
  const endsAt = performance.now() + sendingMs;
  let judged = judge(context, { channel: 'push', notification: payload, userIds: [] });
  /** Why this run begins no more sends. */
  let ended: Error | undefined;
  // What an earlier run settled is read once, instead of asking the ledger for each device again.
  const confirmed = new Set(
    context.attempt === 1 ? [] : (await effects.of(context.messageId)).flatMap(({ key, state }) => (state === 'confirmed' ? [key] : [])),
  );

  async function sendTo(device: PushDevice, answers: TokenAnswer[]): Promise<DeviceResult> {
    const message = toDevice(payload, device, context, (answer) => void answers.push(answer));
    if (confirmed.has(message.key)) return { end: 'sent', alreadySent: true };
    // This message was refused for the token already: a second request would be told the same.
    if (device.suspectMessageId === context.messageId) return { end: 'refused', code: 'unregistered' };
    if (ended === undefined && performance.now() > endsAt) ended = new RetryLater('more_devices', 100, 'there are more devices than one run can reach');
    if (ended !== undefined) return { end: 'open', error: ended };
    let rule: string | undefined;
    try {
      const delivered = await deliverOnce(context, {
        ...message,
        async mayNotSend() {
          const answer = await judged.ask(device.userId);
          if ('status' in answer) return answer;
          rule = answer.rule;
          return undefined;
        },
        send: async (signal, again) => message.send(signal, again, await judged.wording(device.userId, device)),
      });
      if (!('status' in delivered)) return { end: 'sent', alreadySent: delivered.alreadySent, rule };
      return { end: 'suppressed', rule: delivered.status === 'skipped' ? delivered.reason : delivered.status };
    } catch (thrown) {
      const error = withoutLedger(thrown);
      if ((error instanceof PermanentFailure || error instanceof RetryLater) && endsTheRun.has(error.code)) ended ??= error;
      else if (error instanceof PermanentFailure) return { end: 'refused', code: error.code };
      return { end: 'open', error };
    }
  }

  for (let from = 0; from < users.length && ended === undefined; from += usersPerPage) {
    const page = users.slice(from, from + usersPerPage);
    const answers: TokenAnswer[] = [];
    judged = judge(context, { channel: 'push', notification: payload, userIds: page });
    await inParallel(await devices.ofUsers(page), maxInFlight, async (device) => tally.add(device.userId, await sendTo(device, answers)));
    await devices.heard(answers);
    await record(page);
    context.progress(Math.round((100 * Math.min(from + usersPerPage, users.length)) / users.length));
  }
  if (ended !== undefined) tally.postpone(ended);
}
