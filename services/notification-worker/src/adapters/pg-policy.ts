import { type Database, type PolicyFactsOptions, createCoalescing, createPolicyFacts, createPolicyState } from '@backhaul/database';
import type { PolicyPort, PolicySettings } from '@backhaul/jobs/notification';
import type { Metrics } from '@backhaul/runtime';

/** What the policy is told by settings. */
export type PgPolicySettings = PolicySettings & PolicyFactsOptions;

/** The policy's facts and states in Postgres; its decisions are counted. */
export function createPgPolicy({ database, metrics, settings }: { database: Database; metrics: Metrics; settings: PgPolicySettings }): PolicyPort {
  const decisions = metrics.counter('notification_decisions_total', 'What the policy said about notifications, by the rule that decided', ['channel', 'rule']);
  return {
    facts: createPolicyFacts(database, settings),
    change: createPolicyState(database),
    coalescing: createCoalescing(database),
    settings,
    decided: (channel, rule, count = 1) => decisions.inc({ channel, rule }, count),
  };
}
