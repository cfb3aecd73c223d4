import { hash } from 'node:crypto';

/** A job on its way into an envelope. */
interface Sealable {
  readonly messageId: string;
  readonly name: string;
  readonly priority: number;
}

/**
 * Puts jobs of the same name and priority together, in their order, into
 * envelopes: Bull jobs that carry many messages. Returns each job with the id
 * of its envelope, or with null when it travels alone.
 *
 * The same jobs in the same order get the same ids, so that a batch which is
 * added twice is in the queue once.
 *
 * @param sizeOf how many jobs of this name one envelope may carry; 1 means none does
 */
export function seal<Job extends Sealable>(jobs: readonly Job[], sizeOf: (name: string) => number): (Job & { readonly carrier: string | null })[] {
  const open = new Map<string, Job[]>();
  const carriers = new Map<Job, string>();
  const close = (group: readonly Job[]) => {
    if (group.length < 2) return;
    const id = envelopeId(group.map(({ messageId }) => messageId));
    for (const job of group) carriers.set(job, id);
  };
  for (const job of jobs) {
    const key = `${job.name} ${job.priority}`;
    let group = open.get(key);
    if (group === undefined) open.set(key, (group = []));
    group.push(job);
    if (group.length < sizeOf(job.name)) continue;
    close(group);
    open.delete(key);
  }
  for (const group of open.values()) close(group);
  return jobs.map((job) => ({ ...job, carrier: carriers.get(job) ?? null }));
}

/** The size stands in the id: what a queue holds is then counted without reading its jobs. */
function envelopeId(messageIds: readonly string[]): string {
  return `e${messageIds.length}-${hash('sha256', JSON.stringify(messageIds)).slice(0, 32)}`;
}

/** How many messages the Bull job of this id carries. */
export function messagesIn(jobId: string): number {
  return Number(/^e(\d+)-/.exec(jobId)?.[1] ?? 1);
}
