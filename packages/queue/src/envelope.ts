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
  const open = new Map<string, number[]>();
  const carriers = jobs.map((): string | null => null);
  const close = (group: readonly number[]) => {
    if (group.length < 2) return;
    const id = envelopeId(group.map((index) => jobs[index]?.messageId ?? ''));
    for (const index of group) carriers[index] = id;
  };
  let group: number[] = [];
  let kind: Sealable | undefined;
  for (const [index, job] of jobs.entries()) {
    // Neighbours are nearly always of one kind: then it need not be looked for.
    if (kind?.name !== job.name || kind.priority !== job.priority) {
      const key = `${job.name} ${job.priority}`;
      const known = open.get(key);
      if (known === undefined) open.set(key, (group = []));
      else group = known;
      kind = job;
    }
    group.push(index);
    if (group.length < sizeOf(job.name)) continue;
    close(group);
    group.length = 0;
  }
  for (const rest of open.values()) close(rest);
  return jobs.map((job, index) => ({ ...job, carrier: carriers[index] ?? null }));
}

/** The size stands in the id: what a queue holds is then counted without reading its jobs. */
function envelopeId(messageIds: readonly string[]): string {
  return `e${messageIds.length}-${hash('sha256', JSON.stringify(messageIds)).slice(0, 32)}`;
}

/** How many messages the Bull job of this id carries. */
export function messagesIn(jobId: string): number {
  return Number(/^e(\d+)-/.exec(jobId)?.[1] ?? 1);
}
