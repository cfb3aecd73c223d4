import { type Logger, describeError } from '@backhaul/runtime';
import type { Delivery } from '../delivery.ts';
import type { MailGuard, MailMessage, Mailer } from '../mail-ports.ts';
import { type CircuitBreaker, type CircuitBreakerOptions, createCircuitBreaker } from './circuit-breaker.ts';

/** One of several ways to send a mail. */
export interface MailProvider {
  readonly name: string;
  readonly mailer: Mailer;
}

/** What the failover needs. */
export interface FailoverMailerOptions {
  /** In the order in which they are asked. */
  readonly providers: readonly [MailProvider, ...MailProvider[]];
  readonly breaker: CircuitBreakerOptions;
  readonly routes: Pick<MailGuard, 'note' | 'noted'>;
  readonly log: Logger;
}

/** A mailer that tells which of its providers are left alone. */
export interface FailoverMailer extends Mailer {
  states(): readonly { readonly provider: string; readonly state: CircuitBreaker['state'] }[];
}

/**
 * Sends each mail through one of several providers.
 *
 * The next provider is asked only when the one before has certainly not taken
 * the mail: it is away, refuses our credentials, or takes nothing from us now.
 * Which one gets it is noted in the ledger before the request is made. When an
 * answer is lost the mail may be there: from then on it goes to that provider
 * or to none.
 *
 * A provider that fails several times in a row is left alone for a while. When
 * none is left the mail waits, and uses up no try.
 */
export function createFailoverMailer({ providers, breaker, routes, log }: FailoverMailerOptions): FailoverMailer {
  const ways = providers.map((provider) => ({ ...provider, breaker: createCircuitBreaker(breaker) }));
  return {
    states: () => ways.map(({ name, breaker: own }) => ({ provider: name, state: own.state })),
    async send(message, signal) {
      let allowed = ways;
      if (message.again) {
        const noted = await settled(routes.noted(message.key));
        if ('problem' in noted) return noted.problem;
        // Nothing noted: the earlier try ended before it gave the mail to anybody.
        if (noted.value !== undefined) allowed = ways.filter(({ name }) => name === noted.value);
        if (allowed.length === 0)
          return { outcome: 'unconfigured', detail: `${noted.value} may have this mail, and is not among MAIL_PROVIDERS any more: it is given to no other` };
      }
      return firstThatTakes(allowed, message, signal);
    },
  };

  async function firstThatTakes(allowed: typeof ways, message: MailMessage, signal: AbortSignal): Promise<Delivery> {
    let last: Delivery | undefined;
    let waitMs = Infinity;
    for (const way of allowed) {
      if (signal.aborted) break;
      const entered = way.breaker.enter();
      if (entered.waitMs > 0) {
        waitMs = Math.min(waitMs, entered.waitMs);
        continue;
      }
      const { delivery, asked } = await give(way, message, signal);
      way.breaker.leave(asked ? judge(delivery) : 'neither');
      if (!mayGoOn(delivery)) return delivery;
      const facts = { provider: way.name, outcome: delivery.outcome, detail: delivery.detail, breaker: way.breaker.state };
      if (delivery.outcome === 'unauthorized') log.error('a mail provider refuses our credentials: mend them', facts);
      else log.warn('a mail provider takes nothing now', facts);
      last = delivery;
    }
    if (last !== undefined) return last;
    if (signal.aborted) return { outcome: 'unavailable', detail: 'the send was stopped before a provider was asked' };
    return {
      outcome: 'deferred',
      code: 'mail_providers_down',
      detail: `no mail provider works now: ${allowed.map(({ name }) => name).join(', ')}`,
      retryAfterMs: waitMs,
    };
  }

  /** `asked` false: the mail came not so far as the provider. */
  async function give({ name, mailer }: MailProvider, message: MailMessage, signal: AbortSignal): Promise<{ delivery: Delivery; asked: boolean }> {
    const noted = await settled(routes.note(message.key, name));
    if ('problem' in noted) return { delivery: noted.problem, asked: false };
    if (!noted.value) return { delivery: { outcome: 'deferred', code: 'delivery_busy', detail: 'another try has taken this send over' }, asked: false };
    try {
      return { delivery: await mailer.send(message, signal), asked: true };
    } catch (error) {
      // An adapter does not throw. If one does, nobody knows how far it came.
      log.error('a mail adapter failed unexpectedly', { provider: name, error });
      return { delivery: { outcome: 'ambiguous', detail: describeError(error).message }, asked: true };
    }
  }
}

/** The ledger is asked before anything is sent: when it does not answer, nothing was. */
async function settled<Value>(asked: Promise<Value>): Promise<{ value: Value } | { problem: Delivery }> {
  try {
    return { value: await asked };
  } catch (error) {
    const detail = `the ledger could not be asked which provider has this mail: ${describeError(error).message}`;
    return { problem: { outcome: 'deferred', code: 'database_unavailable', detail, retryAfterMs: 10_000 } };
  }
}

/** Whether the provider has certainly not taken the mail, and another one might. */
function mayGoOn(delivery: Delivery): delivery is Extract<Delivery, { outcome: 'unavailable' | 'unauthorized' | 'deferred' }> {
  return delivery.outcome === 'unavailable' || delivery.outcome === 'unauthorized' || (delivery.outcome === 'deferred' && delivery.about === 'provider');
}

function judge(delivery: Delivery): 'works' | 'fails' | 'neither' {
  // A lost answer may be the network's doing, on either side.
  return mayGoOn(delivery) ? 'fails' : delivery.outcome === 'ambiguous' ? 'neither' : 'works';
}
