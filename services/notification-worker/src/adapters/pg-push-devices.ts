import type { DeviceTokens } from '@backhaul/database';
import type { PushDevices } from '@backhaul/jobs/notification';
import type { Logger, Metrics } from '@backhaul/runtime';
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

/** The devices in Postgres, and what becomes of their tokens. */
export function createPgPushDevices(options: { tokens: DeviceTokens; policy: TokenPolicy; log: Logger; metrics: Metrics }): PushDevices {
  const { tokens, policy, log } = options;
  const rate = new GoneRate({ share: policy.maxGoneShare, atLeast: LEAST_GONE, windowMs: WINDOW_MS });
  options.metrics.gauge('push_token_pruning_paused', '1 while so many tokens are called gone that none is believed', [], (gauge) =>
    gauge.set(rate.look(performance.now()).tooMany ? 1 : 0),
  );
  let paused = false;

  /** False while so many tokens are called gone that it must be the provider's fault, or ours. */
  function believable(now: number): boolean {
    const { gone, answers, tooMany } = rate.look(now);
    if (tooMany && !paused) log.error('too many tokens are called gone: no token is deleted or put on probation', { gone, answers, withinMs: WINDOW_MS });
    if (!tooMany && paused) log.info('tokens that are called gone are believed again', { gone, answers });
    paused = tooMany;
    return !tooMany;
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
      const cleared = answers.flatMap(({ says, token, onProbation }) => (says === 'reached' && onProbation ? [token] : []));
      try {
        if (cleared.length > 0) await tokens.reached(cleared);
        if (gone.length === 0 || !believable(now)) return;
        const { suspected, deleted } = await tokens.gone(gone, { probationMs: policy.probationMs });
        if (suspected + deleted > 0) log.info('the provider called tokens gone', { suspected, deleted });
      } catch (error) {
        // The next push hears the same.
        log.warn('what the provider said about tokens could not be kept', { error });
      }
    },
  };
}
