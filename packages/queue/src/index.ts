export * from './job.ts';
export { concurrency, redisEnv, redisOptions, workerEnv, type RedisAddress } from './env.ts';
export { messagesIn, seal } from './envelope.ts';
export { createInspector, type Inspector, type InspectorOptions, type QueueFigures } from './inspect.ts';
export { MAX_PRIORITY, jobIdOf } from './job-id.ts';
export type { JobLedger, LedgerError, LedgerStart, RunClosings, StartedRun } from './ledger.ts';
export { createProducer, type JobData, type JobReference, type Producer, type ProducerOptions } from './producer.ts';
export { QueueUnavailable, UnsafeRedis, assertSafe, failFast, patient, whenReady } from './redis.ts';
export { startWorker, type WorkerOptions } from './worker.ts';
