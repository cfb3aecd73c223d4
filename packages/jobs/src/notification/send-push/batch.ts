import { setMaxListeners } from 'node:events';
import { type BatchAnswer, type BatchContext, type BatchHandler, type BatchMessage, type Outcome, done } from '@backhaul/queue/job';
import { sendLimit, sendWithin } from '../attempt-send.ts';
import type { Begun, DeliverOnce } from '../deliver-once.ts';
import { leaseMs } from '../limits.ts';
import { recordOf } from '../notify.ts';
import { type Allowed, isDecidedByRecord, judgeAll } from '../policy/ask.ts';
import type { Delivery, EffectClaim, NotificationPorts } from '../ports.ts';
import type { TokenAnswer } from './devices.ts';
import { type PushToDevice, isToDevice, pushToDevice } from './handler.ts';
import { type PushPayload, fits, toDevice } from './message.ts';
import { waves } from './waves.ts';

/** A push of a batch, and how far it has come. */
interface Push {
  readonly messageId: string;
  readonly payload: PushToDevice;
  readonly receivedAt: Date;
  readonly message: DeliverOnce;
  state:
    | { readonly is: 'untouched' }
    | ({ readonly is: 'begun' } & Begun)
    /** Nothing is known of its row and its end: by itself it will find that it was sent, and see to them. */
    | { readonly is: 'confirmed' }
    | { readonly is: 'ended'; readonly outcome: Outcome };
}

/** A push that is being sent. */
interface Sending {
  readonly push: Push;
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
  const { ports, log } = context;
  if ((await ports.brake.held('push')) !== undefined) return new Map();
  const ears = new Ears(ports);
  const pushes = messages.flatMap((each) => pushOf(each, context, ears) ?? []);
  const claims = await ports.effects.claimAll(
    pushes.map(({ messageId, message }) => ({ key: message.key, messageId })),
    { leaseMs },
  );
  try {
    for await (const wave of waves(await begin(pushes, claims, context))) await keep(wave, context);
  } catch (error) {
    // A claim that nobody knows of any more would be taken for a lost send: each goes on from where it is.
    log.warn('a batch of pushes is not finished, each goes on by itself', { error });
  }
  await ears.close();
  return new Map(pushes.flatMap((push) => answerOf(push) ?? []));
};

/** Undefined for one that is not for a batch. */
function pushOf({ messageId, payload, receivedAt }: BatchMessage<PushPayload>, { ports }: BatchContext<NotificationPorts>, ears: Ears): Push | undefined {
  if (!isToDevice(payload) || !fits(payload) || (ports.policy !== undefined && !isDecidedByRecord(ports.policy, 'push', payload))) return undefined;
  const message = toDevice(payload, { token: payload.fcmToken, userId: payload.userId }, { messageId, ports }, (answer) => ears.hear(answer));
  return { messageId, payload, receivedAt, message, state: { is: 'untouched' } };
}

/** Begins the sends of those that nobody tried before and that may be sent. */
async function begin(
  pushes: readonly Push[],
  claims: readonly EffectClaim[],
  context: BatchContext<NotificationPorts>,
): Promise<readonly (readonly [Sending, Promise<Delivery>])[]> {
  const fresh: { readonly push: Push; readonly claim: Extract<EffectClaim, { state: 'claimed' }> }[] = [];
  pushes.forEach((push, index) => {
    const claim = claims[index];
    if (claim === undefined) return;
    push.state = { is: 'begun', claim };
    if (claim.state === 'claimed') fresh.push({ push, claim });
  });
  const judged = await judgeAll(
    context.ports.policy,
    'push',
    fresh.map(({ push: { messageId, receivedAt, payload } }) => ({ messageId, userId: payload.userId, receivedAt, notification: payload })),
  );
  const limit = sendLimit(context.signal);
  setMaxListeners(0, limit.signal);
  const sending: [Sending, Promise<Delivery>][] = [];
  fresh.forEach(({ push, claim }, index) => {
    const allowed = judged[index];
    if (allowed === undefined) return;
    const delivery = sendWithin(limit.signal, context, push.message, false);
    push.state = { is: 'begun', claim, sending: { delivery, allowed } };
    sending.push([{ push, token: claim.token, allowed }, delivery]);
  });
  void Promise.all(sending.map(([, delivery]) => delivery)).finally(() => limit.over());
  return sending;
}

/** Writes down what was sent. */
async function keep(wave: readonly (readonly [Sending, Delivery])[], { ports, log }: BatchContext<NotificationPorts>): Promise<void> {
  const sent: (Sending & { readonly providerId: string | null })[] = [];
  for (const [{ push, token, allowed }, delivery] of wave)
    if (delivery.outcome === 'sent') sent.push({ push, token, allowed, providerId: delivery.providerId });
  if (sent.length === 0) return;
  const ours = await ports.effects.confirmAll(sent.map(({ push, token, providerId }) => ({ key: push.message.key, token, providerId })));
  sent.forEach(({ push }, index) => {
    const { messageId, message } = push;
    push.state = { is: 'confirmed' };
    if (ours[index] !== true) log.warn('another try took this send over while it ran: it may have been made twice', { messageId, key: message.key });
  });
  await ports.notifications.recordAll(sent.map(({ push: { messageId, payload } }) => recordOf(messageId, 'push', payload, true)));
  for (const { push, providerId, allowed } of sent) push.state = { is: 'ended', outcome: done({ channel: 'push', providerId, ...allowed }) };
}

function answerOf({ messageId, payload, state }: Push): readonly [readonly [string, BatchAnswer<PushPayload, NotificationPorts>]] | undefined {
  switch (state.is) {
    case 'untouched':
    case 'confirmed':
      return undefined;
    case 'begun':
      return [[messageId, (_payload, context) => pushToDevice(payload, context, state)]];
    case 'ended':
      return [[messageId, state.outcome]];
  }
}

/** Hears what the provider says about tokens: all at once while the batch runs, one by one what comes after it. */
class Ears {
  readonly #ports: NotificationPorts;
  #heard: TokenAnswer[] | undefined = [];

  constructor(ports: NotificationPorts) {
    this.#ports = ports;
  }

  async hear(answer: TokenAnswer): Promise<void> {
    if (this.#heard === undefined) await this.#ports.devices.heard([answer]);
    else this.#heard.push(answer);
  }

  async close(): Promise<void> {
    const heard = this.#heard ?? [];
    this.#heard = undefined;
    if (heard.length > 0) await this.#ports.devices.heard(heard);
  }
}
