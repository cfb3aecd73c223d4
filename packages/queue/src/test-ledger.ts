import type { JobLedger, LedgerError, RunClosings, StartedRun } from './ledger.ts';

/** One job in a `memoryLedger`. */
export interface MemoryJob {
  name: string;
  payload: unknown;
  carrier: string | null;
  traceparent: string | null;
  receivedAt: Date;
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
  record(job: { messageId: string; name: string; payload: unknown; carrier?: string | null; traceparent?: string }): void;
  of(messageId: string): MemoryJob;
  /** The next calls fail. */
  away(calls: number): void;
}

const OPEN = new Set(['queued', 'active', 'retrying']);

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
    const open = job !== undefined && OPEN.has(job.status) && (attempt === undefined || job.attempts === attempt);
    if (open) Object.assign(job, fields);
    return Promise.resolve(open);
  }
  const failuresOf = (messageId: string) => jobs.get(messageId)?.failures ?? 0;

  return {
    record: ({ messageId, name, payload, carrier = null, traceparent = null }) =>
      void jobs.set(messageId, {
        name,
        payload,
        carrier,
        traceparent,
        receivedAt: new Date(),
        status: 'queued',
        attempts: 0,
        failures: 0,
        result: undefined,
        reason: undefined,
      }),
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
      return started(job, job.attempts);
    },
    async startCarried(messageIds, carrier) {
      if (failing > 0) {
        failing -= 1;
        throw new Error('the record is away');
      }
      const carried = messageIds.flatMap((messageId) => {
        const job = jobs.get(messageId);
        return job !== undefined && job.carrier === carrier && OPEN.has(job.status) ? [[messageId, started(job, job.attempts + 1)] as const] : [];
      });
      return Promise.resolve({ jobs: new Map(carried), closings: closings(1) });
    },
    async leaveCarrier(messageIds, carrier) {
      for (const messageId of messageIds) if (jobs.get(messageId)?.carrier === carrier) await change(messageId, undefined, { carrier: null });
    },
    ...closings(0),
  };

  function started({ name, payload, failures, traceparent, receivedAt, firstStartedAt }: MemoryJob, attempt: number): StartedRun {
    return { state: 'started', name, payload, attempt, failures, traceparent, receivedAt, firstStartedAt: firstStartedAt ?? new Date() };
  }

  /** @param unwritten starts that are not on record yet */
  function closings(unwritten: 0 | 1): RunClosings {
    const close = (messageId: string, attempt: number | undefined, fields: Partial<MemoryJob>) =>
      change(messageId, attempt === undefined ? undefined : attempt - unwritten, { ...fields, ...(attempt === undefined ? {} : { attempts: attempt }) });
    const finish: RunClosings['finish'] = (messageId, attempt, { status, result }) => close(messageId, attempt, { status, result });
    return {
      finish,
      async finishAll(finishes) {
        if (failing > 0) {
          failing -= 1;
          throw new Error('the record is away');
        }
        return Promise.all(finishes.map(({ messageId, attempt, ...outcome }) => finish(messageId, attempt, outcome)));
      },
      retry: (messageId, attempt, { error, delayMs }) =>
        close(messageId, attempt, { status: 'retrying', failures: failuresOf(messageId) + 1, error, delayMs, carrier: null }),
      postpone: (messageId, attempt, { delayMs }) => close(messageId, attempt, { status: 'retrying', delayMs, ...(delayMs > 0 ? { carrier: null } : {}) }),
      bury: (messageId, attempt, { reason, error }) => close(messageId, attempt, { status: 'dead', failures: failuresOf(messageId) + 1, reason, error }),
    };
  }
}
