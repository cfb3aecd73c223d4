import { type JobContext, type Outcome, PermanentFailure, RetryLater, TimedOut, done, skipped } from '@backhaul/queue/job';
import type { DeliverOnce } from './deliver-once.ts';
import { deliverWays } from './deliver-ways.ts';
import { type Allowed, type Judged, judge } from './policy/ask.ts';
import type { NotificationPorts, NotificationRecord } from './ports.ts';

/** The fields of a notification's payload that every channel logs, and is judged by. */
interface Notification extends Judged {
  readonly userId: string;
  readonly body: string;
}

/** One notification on its way through a channel. */
export interface Notify {
  readonly channel: NotificationRecord['channel'];
  readonly notification: Notification;
  /** Checks and builds the message; undefined when there is no address. May throw PermanentFailure. */
  prepare(): Omit<DeliverOnce, 'channel'> | undefined;
}

/** The wait when Postgres is away: the ledger must be asked before anything is sent. */
const databaseDelayMs = 10_000;

/**
 * Sends one notification and keeps its row in `notifications`: `success` true
 * once it was sent (also by an earlier try), false when the job ends without
 * that. While tries are left there is no row.
 */
export async function notify(context: JobContext<NotificationPorts>, { channel, notification, prepare }: Notify): Promise<Outcome> {
  const record = (success: boolean) => context.ports.notifications.record(recordOf(context.messageId, channel, notification, success));
  return keepRecords(
    context,
    async () => {
      const message = prepare();
      if (message === undefined) {
        await record(false);
        return skipped('no_address', `a ${channel} notification needs an address of that kind`);
      }
      const judged = judge(context, { channel, notification, userIds: [notification.userId] });
      let allowed: Allowed = message.begun?.sending?.allowed ?? {};
      const underPolicy = (way: DeliverOnce): DeliverOnce => ({
        ...way,
        ...(way.otherwise === undefined ? {} : { otherwise: { ...way.otherwise, message: underPolicy(way.otherwise.message) } }),
        // Once the send is claimed: what was sent before a crash must not be called read or too old by the run that follows.
        async mayNotSend() {
          const answer = await judged.ask(notification.userId);
          if ('status' in answer) return answer;
          allowed = answer;
          return way.mayNotSend?.();
        },
        send: async (signal, again) => way.send(signal, again, await judged.wording(notification.userId)),
      });
      const delivered = await deliverWays(context, underPolicy({ ...message, channel }));
      if ('status' in delivered) {
        await record(false);
        return delivered;
      }
      const { providerId, alreadySent, result } = delivered;
      await record(true);
      return done({ channel, providerId, ...allowed, ...result, ...(alreadySent ? { alreadySent } : {}) });
    },
    () => record(false),
  );
}

/** The row of a notification to one person. */
export function recordOf(
  messageId: string,
  channel: NotificationRecord['channel'],
  { userId, title, body }: Notification,
  success: boolean,
): NotificationRecord {
  return { messageId, channel, userId, title, body, success };
}

/** Runs `work`; when it fails for good, `recordFailure` keeps the rows that say so. Without the ledger no try is used up. */
export async function keepRecords(context: JobContext<NotificationPorts>, work: () => Promise<Outcome>, recordFailure: () => Promise<void>): Promise<Outcome> {
  try {
    return await work();
  } catch (thrown) {
    const error = withoutLedger(thrown);
    if (error instanceof PermanentFailure) await recordFailure();
    else if (context.lastTry && !(error instanceof RetryLater) && !handedBack(context.signal)) {
      await recordFailure().catch((cause: unknown) => context.log.warn('the failed notification could not be logged', { error: cause }));
    }
    throw error;
  }
}

/** The process stops or lost the job's lock: another run follows, whatever the number of this one. */
function handedBack(signal: AbortSignal): boolean {
  return signal.aborted && !(signal.reason instanceof TimedOut);
}

/** Without the ledger nothing may be sent, and no try was made: it would be wrong to use one up. Any other error is handed back. */
export function withoutLedger(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  // By its code: this package does not know the database's client.
  if ((error as { code?: unknown }).code !== 'database_unavailable') return error;
  return new RetryLater('database_unavailable', databaseDelayMs, 'the effects ledger cannot be reached', { cause: error });
}
