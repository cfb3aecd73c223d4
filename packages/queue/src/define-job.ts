import type { Logger } from '@backhaul/runtime';
import type { z } from 'zod';
import type { Outcome } from './outcome.ts';
import type { RetryPolicy } from './retry.ts';

/** A work queue: what its workers share. */
export interface QueueDefinition {
  readonly name: string;
  /** Jobs at once in one process. */
  readonly concurrency: number;
  /** How often a job may lose its worker (crash, kill) before it is given up as a dead letter `stalled`. */
  readonly maxStalls: number;
}

/** A job's contract: what starts it, its payload, and how it is run. The work is the handler beside it. */
export interface JobDefinition<Name extends string = string, Payload = unknown> {
  /** `<queue>.<verb-object>`; stable, because it is stored with every job. */
  readonly name: Name;
  readonly queue: QueueDefinition;
  /** The payload's shape. Read again when the job runs, so it must accept what older versions put there. */
  readonly payload: z.ZodType<Payload>;
  /** The event that makes this job. A job without one is only fired by its schedule. */
  readonly on?: { readonly routingKey: string };
  /** When the scheduler fires it by itself. */
  readonly schedule?: JobSchedule<Payload>;
  /** Larger is more urgent; may depend on the payload. 1 is ordinary. */
  readonly priority: number | ((payload: Payload) => number);
  /** How many of these may travel in one Bull job when they come in numbers; default 1. Each keeps its own run, or its own end of a batch. For short jobs that wait for others. */
  readonly envelope?: number;
  /** Payloads that make a job too large to share a Bull job. Default: none. */
  readonly travelsAlone?: (payload: Payload) => boolean;
  /** How many of these one process runs at once, envelopes included; as many as come if not given. */
  readonly atOnce?: number;
  /**
   * What happens to a run whose worker was silent for so long that its Bull job was given to another. `end`, the
   * default: it is aborted. `go_on`: for jobs that claim each effect before they make it; the other run finds it
   * claimed, while an abort in the middle of a send would leave nobody knowing whether it was made.
   */
  readonly whenLockLost?: 'end' | 'go_on';
  /** The longest one try may take; the handler's signal aborts then. */
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
}

/** A recurring fire. */
export interface JobSchedule<Payload> {
  /** Five-field cron expression, in UTC. */
  readonly cron: string;
  /** What the fired job carries. */
  readonly payload: Payload;
}

/** What a handler is given besides its payload. */
export interface JobContext<Ports> {
  readonly ports: Ports;
  /** Aborts on time-out, lost lock, cancel, and when a stop runs out of time. Pass it to everything that waits. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** The event's message id: the stem of every effect key. */
  readonly messageId: string;
  /** When the message was accepted; absent where a handler runs without a record of it. */
  readonly receivedAt?: Date;
  /** 1 for the first try. */
  readonly attempt: number;
  /** No try is left after this one: an ordinary failure now ends the job as a dead letter. */
  readonly lastTry: boolean;
  /** Tells whoever follows the job how far it is, 0 to 100. Passed on at most once a second; never throws. */
  progress(percent: number): void;
}

/** The work of one job. Must give the same result when run twice. */
export type JobHandler<Payload, Ports> = (payload: Payload, context: JobContext<Ports>) => Promise<Outcome>;

/** One message of a batch. */
export interface BatchMessage<Payload> {
  readonly messageId: string;
  readonly payload: Payload;
  readonly receivedAt: Date;
}

/** What a batch handler is given besides its messages; as in `JobContext`, for all of them. */
export type BatchContext<Ports> = Pick<JobContext<Ports>, 'ports' | 'signal' | 'log'>;

/** How a message leaves a batch: with its end, or with the handler by which it goes on from where the batch left it. */
export type BatchAnswer<Payload, Ports> = Outcome | JobHandler<Payload, Ports>;

/**
 * The work of many jobs of one kind at once, each in its first run, as far as
 * it is the same for nearly all of them. A message without an answer runs by
 * the job's own handler, as if it had not been in the batch. Must not throw
 * once it has begun something that only an answer tells of.
 */
export type BatchHandler<Payload, Ports> = (
  messages: readonly BatchMessage<Payload>[],
  context: BatchContext<Ports>,
) => Promise<ReadonlyMap<string, BatchAnswer<Payload, Ports>>>;

/** Any job, in a list. (A list of `JobDefinition` would take none: its priority makes it invariant in the payload.) */
export type ListedJob = Pick<JobDefinition, 'name' | 'payload'>;

/** The handlers of a list of jobs: forgetting one does not compile. */
export type HandlersFor<Jobs extends readonly ListedJob[], Ports> = {
  readonly [Job in Jobs[number] as Job['name']]: JobHandler<z.output<Job['payload']>, Ports>;
};

/** The batch handlers of a list of jobs; most jobs have none. */
export type BatchHandlersFor<Jobs extends readonly ListedJob[], Ports> = {
  readonly [Job in Jobs[number] as Job['name']]?: BatchHandler<z.output<Job['payload']>, Ports>;
};

/** Declares a queue. */
export function defineQueue(definition: QueueDefinition): QueueDefinition {
  return definition;
}

/** Declares a job. */
export function defineJob<const Name extends string, Payload>(definition: JobDefinition<Name, Payload>): JobDefinition<Name, Payload> {
  return definition;
}
