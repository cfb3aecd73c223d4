import type { notificationWithdraw } from '@backhaul/events';
import { type JobContext, type JobHandler, type Outcome, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import { collapseKeyOf } from '../effect-key.ts';
import { withoutLedger } from '../notify.ts';
import type { NotificationPorts } from '../ports.ts';
import { sendPushHandler } from '../send-push/handler.ts';
import type { PushPayload } from '../send-push/message.ts';

type WithdrawPayload = z.output<typeof notificationWithdraw.data>;

/** Takes back what waits, then clears what is shown. In this order: a push that is sent in between is cleared with the rest. */
export const withdrawHandler: JobHandler<WithdrawPayload, NotificationPorts> = async (payload, context) => {
  const { userId, reason, chatId, chatMessageIds = [], sentAt } = payload;
  try {
    await context.ports.withdrawals.add({
      messageId: context.messageId,
      userId,
      reason,
      chatId,
      chatMessageIds,
      readUpTo: sentAt === undefined ? undefined : new Date(sentAt),
    });
  } catch (error) {
    throw withoutLedger(error);
  }
  const cleared = await clear(payload, context);
  return done({ reason, cleared: cleared.status === 'done' ? 'sent' : cleared.reason });
};

/** Tells the devices, with a push that shows nothing and wakes nobody. No rule stands in its way, and it is no row in `notifications`. */
function clear(payload: WithdrawPayload, context: JobContext<NotificationPorts>): Promise<Outcome> {
  const { notifications: _log, policy: _policy, ...ports } = context.ports;
  const silent = { record: async () => undefined, recordAll: async () => undefined, recordEach: async () => undefined };
  return sendPushHandler(clearingPush(payload), { ...context, ports: { ...ports, notifications: silent } });
}

/** `clear` says why; lists are JSON, as a push carries texts only. */
function clearingPush({ userId, reason, chatId, chatMessageIds, collapseIds, fcmToken }: WithdrawPayload): PushPayload {
  return {
    type: 'push',
    userId,
    title: '',
    body: '',
    ...(fcmToken === undefined ? {} : { fcmToken }),
    data: {
      clear: reason,
      ...(chatId === undefined ? {} : { chatId }),
      ...(chatMessageIds === undefined ? {} : { chatMessageIds: JSON.stringify(chatMessageIds) }),
      ...(collapseIds === undefined ? {} : { collapseKeys: JSON.stringify(collapseIds.map((collapseId) => collapseKeyOf(userId, collapseId))) }),
    },
    push: { dataOnly: true },
  };
}
