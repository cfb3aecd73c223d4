import { type BatchAnswer, type BatchContext, type BatchHandler, type BatchMessage, done } from '@backhaul/queue/job';
import { attemptSend } from '../attempt-send.ts';
import type { Begun, DeliverOnce } from '../deliver-once.ts';
import { leaseMs } from '../limits.ts';
import { recordOf } from '../notify.ts';
import { type Allowed, isDecidedByRecord, judgeAll } from '../policy/ask.ts';
import type { Delivery, EffectClaim, NotificationPorts } from '../ports.ts';
import type { TokenAnswer } from './devices.ts';
import { isToDevice, pushToDevice } from './handler.ts';
import { type PushPayload, fits, toDevice } from './message.ts';
import { waves } from './waves.ts';

/** A push of a batch. */
interface Push {
  readonly messageId: string;
  readonly payload: PushPayload & { readonly userId: string; readonly fcmToken: string };
  readonly receivedAt: Date;
  readonly message: Omit<DeliverOnce, 'channel'>;
}

/** One that is sent. */
interface Sent extends Push {
  readonly token: string;
  readonly allowed: Allowed;
}

/**
 * Sends many pushes, each to the device that it names: claimed, judged,
 * confirmed and shown by one statement each. A push of which anything else
 * comes than that it may be sent, and is, goes on by itself from there, through
 * `deliverOnce`; one that is gathered with others, or counted, or goes to many
 * devices, is none for a batch at all.
 */
export const sendPushBatch: BatchHandler<PushPayload, NotificationPorts> = async (messages, context) => {
  const { ports } = context;
  const answers = new Map<string, BatchAnswer<PushPayload, NotificationPorts>>();
  if ((await ports.brake.held('push')) !== undefined) return answers;
  const ears = new Ears(ports);
  const pushes = messages.flatMap((each) => pushOf(each, context, ears) ?? []);
  const claims = await ports.effects.claimAll(
    pushes.map(({ messageId, message: { key } }) => ({ key, messageId })),
    { leaseMs },
  );
  // From here on each has an answer, whatever fails: a claim that nobody knows of any more is taken for a lost send.
  const goOn = (push: Push, begun: Begun) =>
    answers.set(push.messageId, (_payload, itsContext) => pushToDevice(push.payload, itsContext, begun));
  const claimed: (Push & { readonly claim: Extract<EffectClaim, { state: 'claimed' }> })[] = [];
  pushes.forEach((push, index) => {
    const claim = claims[index];
    if (claim === undefined) return;
    goOn(push, { claim });
    if (claim.state === 'claimed') claimed.push({ ...push, claim });
  });
  try {
    const judged = await judgeAll(
      ports.policy,
      'push',
      claimed.map(({ messageId, receivedAt, payload }) => ({ ...payload, messageId, receivedAt })),
    );
    const sending: [Sent, Promise<Delivery>][] = [];
    claimed.forEach(({ claim, ...push }, index) => {
      const allowed = judged[index];
      if (allowed === undefined) return;
      const delivery = attemptSend(context, { ...push.message, channel: 'push' }, false);
      goOn(push, { claim, sending: { delivery, allowed } });
      sending.push([{ ...push, token: claim.token, allowed }, delivery]);
    });
    for await (const wave of waves(sending)) await keep(wave, context, answers);
  } catch (error) {
    context.log.warn('a batch of pushes is not finished, each goes on by itself', { error });
  }
  await ears.close();
  return answers;
};

/** Undefined for one that is not for a batch. */
function pushOf({ messageId, payload, receivedAt }: BatchMessage<PushPayload>, { ports }: BatchContext<NotificationPorts>, ears: Ears): Push | undefined {
  if (!isToDevice(payload) || !fits(payload) || (ports.policy !== undefined && !isDecidedByRecord(ports.policy, 'push', payload))) return undefined;
  const message = toDevice(payload, { token: payload.fcmToken, userId: payload.userId }, { messageId, ports }, (answer) => ears.hear(answer));
  return { messageId, payload, receivedAt, message };
}

/** Writes down what was sent, and answers for it. */
async function keep(
  wave: readonly (readonly [Sent, Delivery])[],
  { ports, log }: BatchContext<NotificationPorts>,
  answers: Map<string, BatchAnswer<PushPayload, NotificationPorts>>,
): Promise<void> {
  const sent = wave.flatMap(([push, delivery]) => (delivery.outcome === 'sent' ? [{ push, providerId: delivery.providerId }] : []));
  if (sent.length === 0) return;
  const ours = await ports.effects.confirmAll(sent.map(({ push, providerId }) => ({ key: push.message.key, token: push.token, providerId })));
  sent.forEach(({ push: { messageId, message } }, index) => {
    // It finds itself confirmed, and keeps its row and its end then.
    answers.delete(messageId);
    if (ours[index] !== true) log.warn('another try took this send over while it ran: it may have been made twice', { messageId, key: message.key });
  });
  await ports.notifications.recordAll(sent.map(({ push: { messageId, payload } }) => recordOf(messageId, 'push', payload, true)));
  for (const { push, providerId } of sent) answers.set(push.messageId, done({ channel: 'push', providerId, ...push.allowed }));
}

/** Hears what the provider says about tokens: all at once while the batch runs, one by one what comes after it. */
class Ears {
  readonly #ports: NotificationPorts;
  #heard: TokenAnswer[] | undefined = [];

  constructor(ports: NotificationPorts) {
    this.#ports = ports;
  }

  hear(answer: TokenAnswer): Promise<void> | void {
    return this.#heard === undefined ? this.#ports.devices.heard([answer]) : void this.#heard.push(answer);
  }

  async close(): Promise<void> {
    const heard = this.#heard ?? [];
    this.#heard = undefined;
    if (heard.length > 0) await this.#ports.devices.heard(heard);
  }
}
