export {
  DatabaseUnavailable,
  createDatabase,
  sqlState,
  type Database,
  type DatabaseOptions,
  type Queryable,
  type SqlResult,
  type SqlValue,
} from './database.ts';
export { createChannelHolds, type ChannelHolds } from './channel-holds.ts';
export { boolColumn, textColumn, uuidColumn } from './columns.ts';
export { createCoalescing, type Announced, type Coalescing, type CoalescingKey } from './coalescing.ts';
export { createDeadLetters, type DeadLetter, type DeadLetters, type PoisonMessage } from './dead-letters.ts';
export { createDeviceTokens, type DeviceRegistration, type DeviceRow, type DeviceTokens, type GoneToken } from './device-tokens.ts';
export { gather, together, type GatherOptions } from './gather.ts';
export { createHolds, type Holds } from './holds.ts';
export { type HistoryEntry, type StoredError } from './history.ts';
export { createEffects, type EffectClaim, type EffectRow, type Effects } from './effects.ts';
export { EMAIL_STATUSES, createEmailQueue, type EmailQueue, type EmailStatus, type QueuedEmail } from './email-queue.ts';
export { createMailGuard, createMailSuppressions, type MailGuard, type MailSuppression, type MailSuppressions } from './mail-guard.ts';
export { createSmsGuard, type SmsGuard } from './sms-guard.ts';
export { createSmsReports, smsStatuses, type SmsReport, type SmsReports, type SmsStatus } from './sms-reports.ts';
export { databaseEnv } from './env.ts';
export { explain, type Explanation } from './explain.ts';
export { createJobLedger, type JobLedger, type RunClosings, type StartedJob } from './job-ledger.ts';
export { createJobRuns, type JobRuns } from './job-runs.ts';
export { createJobs, recordJobs, type JobRow, type JobStatus, type Jobs, type NewJob, type OpenJob, type RecordOutcome } from './jobs.ts';
export { createPolicyFacts, type PolicyFacts, type PolicyFactsOptions, type PolicyRequest } from './policy-facts.ts';
export { createPolicyState, type ChangePolicyState } from './policy-state.ts';
export { createUserPolicy, type ChatMute, type Preference, type QuietHours, type UserPolicy } from './policy.ts';
export { createWithdrawals, type Withdrawals } from './withdrawals.ts';
export { SchemaMismatch, migrate, pendingMigrations } from './migrate.ts';
export { MIN_RETENTION_MS, pruneFinished, type Pruned } from './prune.ts';
export { adviseChatIndexes, checkChatTables, createChatTables } from './chat-schema.ts';
