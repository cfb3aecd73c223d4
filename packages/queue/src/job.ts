/** What a job is, without the machinery that runs it: this entry brings neither BullMQ nor a Redis client. */
export {
  type BatchAnswer,
  type BatchContext,
  type BatchHandler,
  type BatchHandlersFor,
  type BatchMessage,
  defineJob,
  defineQueue,
  type HandlersFor,
  type JobContext,
  type JobDefinition,
  type JobHandler,
  type JobSchedule,
  type ListedJob,
  type QueueDefinition,
} from './define-job.ts';
export { PermanentFailure, RetryLater, TimedOut, done, skipped, type Outcome } from './outcome.ts';
export { exponential, nextDelayMs, type RetryPolicy } from './retry.ts';
