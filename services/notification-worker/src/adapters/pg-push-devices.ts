import type { DeviceTokens } from '@backhaul/database';
import type { PushDevices } from '@backhaul/jobs/notification';
import type { Closeable, Logger, Metrics } from '@backhaul/runtime';
import { GoneRate } from './gone-rate.ts';

/** What is decided by settings about tokens. */
export interface TokenPolicy {
  /** Between the first answer that a token is gone and the one that deletes it. */
  readonly probationMs: number;
  /** Share of the answers of a minute, 0 to 1, above which "gone" is taken for the provider's fault. */
  readonly maxGoneShare: number;
}

/** "Gone" is said that often within a minute before its share says anything. */
const LEAST_GONE = 20;
const WINDOW_MS = 60_000;
/** Tokens that events named and that were reached: one statement asks for so many which of them are on probation, or for those of so long. */
const MOST_REACHED = 1_000;
const REACHED_WITHIN_MS = 2_000;

/** The devices in Postgres, and what becomes of their tokens. */
export function createPgPushDevices(options: { tokens: DeviceTokens; policy: TokenPolicy; log: Logger; metrics: Metrics }): PushDevices & Closeable {
  const { tokens, policy, log } = options;
  const rate = new GoneRate({ share: policy.maxGoneShare, atLeast: LEAST_GONE, windowMs: WINDOW_MS });
  options.metrics.gauge('push_token_pruning_paused', '1 while so many tokens are called gone that none is believed', [], (gauge) =>
    gauge.set(rate.look(performance.now()).tooMany ? 1 : 0),
  );
  let paused = false;
  /** Reached, and not known whether they are on probation. Hardly any is: a push must not cost a statement for that. */
  let reached = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let clearing = Promise.resolve();

  /** False while so many tokens are called gone that it must be the provider's fault, or ours. */
  function believable(now: number): boolean {
    const { gone, answers, tooMany } = rate.look(now);
    if (tooMany && !paused) log.error('too many tokens are called gone: no token is deleted or put on probation', { gone, answers, withinMs: WINDOW_MS });
    if (!tooMany && paused) log.info('tokens that are called gone are believed again', { gone, answers });
    paused = tooMany;
    return !tooMany;
  }

  /** Ends the probation of all that were reached so far. */
  function clearReached(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    if (reached.size > 0) {
      const batch = [...reached];
      reached = new Set();
      clearing = clearing
        .then(() => tokens.reached(batch))
        .catch((error: unknown) => log.warn('tokens that were reached may still be on probation', { error }));
    }
    return clearing;
  }

  return {
    async ofUsers(userIds) {
      const rows = await tokens.ofUsers(userIds);
      return rows.map(({ token, userId, locale, suspectMessageId }) => ({ token, userId, locale: locale ?? undefined, suspectMessageId }));
    },
    async heard(answers) {
      const now = performance.now();
      for (const { says } of answers) rate.add(says, now);
      const gone = answers.flatMap(({ says, token, messageId, sentAt }) => (says === 'gone' ? [{ token, messageId, sentMsAgo: now - sentAt }] : []));
      const cleared = answers.flatMap(({ says, token, onProbation }) => (says === 'reached' && onProbation === true ? [token] : []));
      for (const { says, token, onProbation } of answers) if (says === 'reached' && onProbation === undefined) reached.add(token);
      if (reached.size >= MOST_REACHED) void clearReached();
      else if (reached.size > 0) timer ??= setTimeout(() => void clearReached(), REACHED_WITHIN_MS).unref();
      try {
        if (cleared.length > 0) await tokens.reached(cleared);
        if (gone.length === 0 || !believable(now)) return;
        // A token that was reached before it was called gone begins its probation anew.
        await clearReached();
        const { suspected, deleted } = await tokens.gone(gone, { probationMs: policy.probationMs });
        if (suspected + deleted > 0) log.info('the provider called tokens gone', { suspected, deleted });
      } catch (error) {
        // The next push hears the same.
        log.warn('what the provider said about tokens could not be kept', { error });
      }
    },
    close: clearReached,
  };
}
