import { type JobContext, type Outcome, PermanentFailure, RetryLater } from '@backhaul/queue/job';

import { pause } from '@backhaul/runtime';
import { attemptSend } from './attempt-send.ts';
import { waitForBrake } from './heed-brake.ts';
import { busy, failureOf, unknownDelivery } from './failures.ts';
import { leaseMs, sendTimeoutMs } from './limits.ts';
import type { Wording } from './policy/wording.ts';
import type { Delivery, LookUp, NotificationPorts, NotificationRecord } from './ports.ts';

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
}

/** What became of it; `alreadySent` says that an earlier try had sent it. */
export interface Delivered {
  readonly providerId: string | null;
  readonly alreadySent: boolean;
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
 *
 * | provider says | the ledger | the job |
 * |---|---|---|
 * | sent | confirmed | done |
 * | refused | released | PermanentFailure with the provider's code |
 * | deferred | released | RetryLater, no try used |
 * | unavailable | released | tried again by its policy |
 * | unauthorized | released | RetryLater, logged as an error |
 * | unconfigured | released | PermanentFailure `channel_not_configured` |
 * | ambiguous | stays claimed until the lease ends, or given up | RetryLater, or PermanentFailure `delivery_unknown` |
 */
export async function deliverOnce(context: JobContext<NotificationPorts>, message: DeliverOnce): Promise<Delivered | Outcome> {
  const { effects } = context.ports;
  await waitForBrake(context, message.channel);
  const claim = await effects.claim(message.key, { messageId: context.messageId, leaseMs });
  switch (claim.state) {
    case 'confirmed':
      return { providerId: claim.providerId, alreadySent: true };
    case 'unknown':
      throw unknownDelivery('an earlier try gave it up');
    case 'busy':
      throw busy(claim.leaseUntil);
    case 'claimed':
      return firstSend(context, message, claim.token);
    case 'ambiguous':
      if (message.whenUnknown === 'resend-once') return resend(context, message, claim.token);
      return settle(context, message, claim);
  }
}

async function firstSend(context: JobContext<NotificationPorts>, message: DeliverOnce, token: string): Promise<Delivered | Outcome> {
  const { effects } = context.ports;
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
  const delivery = await attemptSend(context, message, false);
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
    default:
      await effects.release(message.key, token);
      throw failureOf(context, delivery);
  }
}

/** For how long a provider that does not answer is asked again about a lost send. */
const lookUpForMs = 3_600_000;

/** Finds out about a send that was lost on the way, without making it again. */
async function settle(context: JobContext<NotificationPorts>, message: DeliverOnce, claim: { token: string; claimedAt: Date }): Promise<Delivered> {
  const { effects } = context.ports;
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(sendTimeoutMs)]);
  const found: LookUp = (await message.lookUp?.(claim.claimedAt, signal)) ?? { outcome: 'not_found' };
  switch (found.outcome) {
    case 'found':
      return { ...(await confirmed(context, message.key, claim.token, found.providerId)), alreadySent: true };
    case 'undelivered':
      await effects.giveUp(message.key, claim.token, `the provider took it as ${found.providerId}: ${found.detail}`);
      throw new PermanentFailure('undelivered', found.detail);
    case 'unreadable':
      if (Date.now() - claim.claimedAt.getTime() < lookUpForMs)
        throw new RetryLater('delivery_ambiguous', leaseMs, `the provider could not be asked about the lost send: ${found.detail}`);
      break;
    case 'not_found':
      break;
  }
  const detail = found.outcome === 'not_found' ? 'an earlier try was lost on the way' : `an earlier try was lost, and nobody answers for it: ${found.detail}`;
  await effects.giveUp(message.key, claim.token, detail);
  throw unknownDelivery(detail);
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

/** Waits between the tries to record a send; a database that is away for longer costs a resend (push, mail) or an `unknown` (SMS). */
const confirmDelaysMs = [100, 400, 1_500, 3_000];

async function confirmed(context: JobContext<NotificationPorts>, key: string, token: string, providerId: string | null): Promise<Delivered> {
  for (let failures = 0; ; failures += 1) {
    try {
      const ours = await context.ports.effects.confirm(key, token, providerId);
      if (!ours) context.log.warn('another try took this send over while it ran: it may have been made twice', { key });
      return { providerId, alreadySent: false };
    } catch (error) {
      const delayMs = confirmDelaysMs[failures];
      if (delayMs === undefined || context.signal.aborted) throw error;
      await pause(delayMs, context.signal);
    }
  }
}
