import type { JobLedger, LedgerError } from './ledger.ts';

/** One job in a `memoryLedger`. */
export interface MemoryJob {
  name: string;
  payload: unknown;
  status: string;
  attempts: number;
  failures: number;
  delayMs?: number;
  result: unknown;
  reason: string | undefined;
  error?: LedgerError;
  firstStartedAt?: Date;
}

/** For tests: the record of jobs in memory, with the fencing of the one in Postgres, which can be away for a while. */
export interface MemoryLedger extends JobLedger {
  record(job: { messageId: string; name: string; payload: unknown }): void;
  of(messageId: string): MemoryJob;
  /** The next calls fail. */
  away(calls: number): void;
}

/** Makes one. */
export function memoryLedger(): MemoryLedger {
  const jobs = new Map<string, MemoryJob>();
  let failing = 0;

  function change(messageId: string, attempt: number | undefined, fields: Partial<MemoryJob>): Promise<boolean> {
    if (failing > 0) {
      failing -= 1;
      return Promise.reject(new Error('the record is away'));
    }
    const job = jobs.get(messageId);
    const open = job !== undefined && ['queued', 'active', 'retrying'].includes(job.status) && (attempt === undefined || job.attempts === attempt);
    if (open) Object.assign(job, fields);
    return Promise.resolve(open);
  }
  const failuresOf = (messageId: string) => jobs.get(messageId)?.failures ?? 0;

  return {
    record: ({ messageId, name, payload }) =>
      void jobs.set(messageId, { name, payload, status: 'queued', attempts: 0, failures: 0, result: undefined, reason: undefined }),
    of(messageId) {
      const job = jobs.get(messageId);
      if (job === undefined) throw new Error(`no job ${messageId}`);
      return job;
    },
    away(calls) {
      failing = calls;
    },
    async start(messageId) {
      const job = jobs.get(messageId);
      const opened = await change(messageId, undefined, { status: 'active', attempts: (job?.attempts ?? 0) + 1 });
      if (job === undefined) return { state: 'missing' };
      if (!opened) return { state: 'finished' };
      return {
        state: 'started',
        name: job.name,
        payload: job.payload,
        attempt: job.attempts,
        failures: job.failures,
        receivedAt: new Date(),
        firstStartedAt: job.firstStartedAt ?? new Date(),
      };
    },
    finish: (messageId, attempt, { status, result }) => change(messageId, attempt, { status, result }),
    retry: (messageId, attempt, { error, delayMs }) => change(messageId, attempt, { status: 'retrying', failures: failuresOf(messageId) + 1, error, delayMs }),
    postpone: (messageId, attempt, { delayMs }) => change(messageId, attempt, { status: 'retrying', delayMs }),
    bury: (messageId, attempt, { reason, error }) => change(messageId, attempt, { status: 'dead', failures: failuresOf(messageId) + 1, reason, error }),
  };
}
