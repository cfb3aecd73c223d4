import { type JobContext, type Outcome, RetryLater } from '@backhaul/queue/job';
import { attemptSend } from './attempt-send.ts';
import { RefusedForGood, busy, failureOf, unknownDelivery } from './failures.ts';
import { waitForBrake } from './heed-brake.ts';
import { leaseMs } from './limits.ts';
import type { Allowed } from './policy/ask.ts';
import type { Wording } from './policy/wording.ts';
import { settleLost } from './settle-lost.ts';
import { type Delivered, confirmed, refuse } from './write-outcome.ts';
import type { Delivery, EffectClaim, LookUp, NotificationPorts, NotificationRecord } from './ports.ts';

/** One message that is to reach its recipient once. */
export interface DeliverOnce {
  readonly channel: NotificationRecord['channel'];
  /** What is sent to whom and why; see `effectKey`. */
  readonly key: string;
  /** What to do when an earlier send may or may not have been made: send once more in a way that shows as a copy, or never again. */
  readonly whenUnknown: 'resend-once' | 'never-resend';
  /**
   * @param again true for the one resend of a send that may have been made
   * @param wording said instead of the message's own title and body
   */
  send(signal: AbortSignal, again: boolean, wording?: Wording): Promise<Delivery>;
  /** Asked once the send is claimed and before it is made; an outcome means that it is not. May throw RetryLater. */
  mayNotSend?(): Promise<Outcome | undefined>;
  /** With never-resend: asks the provider for a send that may have been made at `since` or after. */
  lookUp?(since: Date, signal: AbortSignal): Promise<LookUp>;
  /** Kept with the job's result. */
  readonly result?: object;
  /** Another way to the same person. */
  readonly otherwise?: Otherwise;
  /** What was done for it together with others: it goes on from there. */
  readonly begun?: Begun | undefined;
}

/** A message that was claimed, and perhaps sent, in a batch. */
export interface Begun {
  readonly claim: EffectClaim;
  /** The send that was begun; the policy allowed it. */
  readonly sending?: { readonly delivery: Promise<Delivery>; readonly allowed: Allowed } | undefined;
}

/** What is sent instead of a message that is certain not to reach the person. */
export interface Otherwise {
  readonly message: DeliverOnce;
  /** Whether this answer leaves the other way open: nothing was sent, and the message itself is not what is wrong. */
  mayFollow(delivery: Extract<Delivery, { outcome: 'refused' | 'unconfigured' }>): boolean;
  /** Asked about a message that was accepted at `since`: why it did not reach the person, or undefined. Throws RetryLater while that is open. */
  failedSince(since: Date): Promise<string | undefined>;
}

/**
 * Claims the effect, sends, and tells the ledger what happened.
 *
 * While the channel is held nothing is asked: RetryLater `channel_held`.
 *
 * | ledger says | what follows |
 * |---|---|
 * | claimed | send |
 * | confirmed | nothing: `alreadySent` |
 * | busy | RetryLater until the other's lease ends |
 * | ambiguous | by `whenUnknown`: one more send, or the provider is asked: found is confirmed, anything else given up |
 * | unknown | PermanentFailure `delivery_unknown` |
 * | refused | RefusedForGood |
 *
 * | provider says | the ledger | the job |
 * |---|---|---|
 * | sent | confirmed | done |
 * | refused, unconfigured, and `otherwise` may follow | refused | RefusedForGood |
 * | refused | released | PermanentFailure with the provider's code |
 * | deferred | released | RetryLater, no try used |
 * | unavailable | released | tried again by its policy |
 * | unauthorized | released | RetryLater, logged as an error |
 * | unconfigured | released | PermanentFailure `channel_not_configured` |
 * | ambiguous | stays claimed until the lease ends, or given up | RetryLater, or PermanentFailure `delivery_unknown` |
 */
export async function deliverOnce(context: JobContext<NotificationPorts>, message: DeliverOnce): Promise<Delivered | Outcome> {
  const claim = message.begun?.claim ?? (await claimed(context, message));
  switch (claim.state) {
    case 'confirmed':
      return { providerId: claim.providerId, alreadySent: true, confirmedAt: claim.confirmedAt };
    case 'unknown':
      throw unknownDelivery('an earlier try gave it up');
    case 'refused':
      throw new RefusedForGood(claim.detail ?? 'an earlier try found this way closed');
    case 'busy':
      throw busy(claim.leaseUntil);
    case 'claimed':
      return firstSend(context, message, claim.token);
    case 'ambiguous':
      if (message.whenUnknown === 'resend-once') return resend(context, message, claim.token);
      return settleLost(context, message, claim);
  }
}

async function claimed(context: JobContext<NotificationPorts>, { channel, key }: DeliverOnce): Promise<EffectClaim> {
  await waitForBrake(context, channel);
  return context.ports.effects.claim(key, { messageId: context.messageId, leaseMs });
}

async function firstSend(context: JobContext<NotificationPorts>, message: DeliverOnce, token: string): Promise<Delivered | Outcome> {
  const { effects } = context.ports;
  const { sending } = message.begun ?? {};
  if (sending === undefined) {
    try {
      const instead = await message.mayNotSend?.();
      if (instead !== undefined) {
        await effects.release(message.key, token);
        return instead;
      }
    } catch (error) {
      // Nothing was sent. Left claimed, the next try would take this for a lost send and never make it.
      await effects.release(message.key, token);
      throw error;
    }
  }
  const delivery = await (sending?.delivery ?? attemptSend(context, message, false));
  switch (delivery.outcome) {
    case 'sent':
      return confirmed(context, message.key, token, delivery.providerId);
    case 'ambiguous':
      if (message.whenUnknown === 'never-resend' && message.lookUp === undefined) {
        await effects.giveUp(message.key, token, delivery.detail);
        throw unknownDelivery(delivery.detail);
      }
      // The claim stays. When its lease ends the next try finds it ambiguous, as it would after a crash: one path for both.
      throw new RetryLater('delivery_ambiguous', leaseMs, `whether the message was sent is unknown (${delivery.detail}); this is settled when the claim ends`);
    case 'refused':
    case 'unconfigured':
      if (message.otherwise?.mayFollow(delivery) === true) return refuse(context, message.key, token, delivery.detail);
      await effects.release(message.key, token);
      throw failureOf(context, delivery);
    default:
      await effects.release(message.key, token);
      throw failureOf(context, delivery);
  }
}

/** The one more send that is allowed when the first is unknown; claimed under a key of its own, so that there is no third. */
async function resend(context: JobContext<NotificationPorts>, message: DeliverOnce, token: string): Promise<Delivered> {
  const { effects } = context.ports;
  const resendKey = `${message.key}:resend`;
  const claim = await effects.claim(resendKey, { messageId: context.messageId, leaseMs });
  switch (claim.state) {
    case 'busy':
      throw busy(claim.leaseUntil);
    case 'confirmed':
      return { ...(await confirmed(context, message.key, token, claim.providerId)), alreadySent: true };
    case 'refused':
    case 'ambiguous':
    case 'unknown':
      if (claim.state === 'ambiguous') await effects.giveUp(resendKey, claim.token, 'the resend was lost on the way');
      await effects.giveUp(message.key, token, 'the resend was lost on the way as well');
      throw unknownDelivery('the send and its resend were lost on the way');
    case 'claimed':
      break;
  }
  context.log.warn('sending once more: whether the first send was made is unknown', { key: message.key });
  const delivery = await attemptSend(context, message, true);
  switch (delivery.outcome) {
    case 'sent': {
      const delivered = await confirmed(context, message.key, token, delivery.providerId);
      await effects.confirm(resendKey, claim.token, delivery.providerId);
      return delivered;
    }
    case 'ambiguous':
      await effects.giveUp(resendKey, claim.token, delivery.detail);
      await effects.giveUp(message.key, token, `the resend is unknown as well: ${delivery.detail}`);
      throw unknownDelivery(delivery.detail);
    case 'refused':
    case 'unconfigured':
      await effects.release(resendKey, claim.token);
      // The first send stays unknown for ever: the refusal speaks about the second only.
      await effects.giveUp(message.key, token, `the resend was refused: ${delivery.detail}`);
      throw failureOf(context, delivery);
    default:
      await effects.release(resendKey, claim.token);
      throw failureOf(context, delivery);
  }
}
