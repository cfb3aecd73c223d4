import { setTimeout as delay } from 'node:timers/promises';
import type { PlannedEvent } from './plan.ts';

/** What the ops API says of a message; only what the demo looks at. */
export interface Story {
  readonly job: {
    readonly queue: string;
    readonly status: string;
    readonly attempts: number;
    readonly result: Record<string, unknown> | null;
    readonly error: { readonly message: string } | null;
    readonly history: readonly { readonly at: string; readonly event: string }[];
    readonly startedAt: string | null;
    readonly finishedAt: string | null;
  } | null;
  readonly progress: number | null;
  readonly effects: readonly { readonly key: string; readonly state: string; readonly providerId: string | null }[];
  readonly deadLetters: readonly {
    readonly id: number;
    readonly queue: string;
    readonly reason: string;
    readonly error: { readonly message: string };
    readonly createdAt: string;
  }[];
}

/** One event on its way. */
export interface Followed {
  readonly event: PlannedEvent;
  readonly publishedAt: number;
  /** What was seen last; undefined until the bridge has recorded it. */
  story: Story | undefined;
  endedAt: number | undefined;
}

/** Where it is, in two or three words. */
export function stateOf({ story }: Pick<Followed, 'story'>): string {
  if (story === undefined) return 'published';
  if (story.job === null) return story.deadLetters.length > 0 ? 'dead letter' : 'published';
  if (story.job.status === 'dead') return 'dead letter';
  if (story.job.status === 'active') return story.progress === null ? 'active' : `active ${Math.round(story.progress)} %`;
  return story.job.status;
}

const ENDED = new Set(['done', 'skipped', 'cancelled', 'dead letter']);

/** Looks at every event until all have ended, the time is over, or `signal` aborts. Calls `onChange` whenever something is new. */
export async function follow(
  followed: readonly Followed[],
  options: { opsUrl: string; timeoutMs: number; signal: AbortSignal; onChange: () => void },
): Promise<void> {
  const deadline = performance.now() + options.timeoutMs;
  while (!options.signal.aborted && performance.now() < deadline) {
    const open = followed.filter(({ endedAt }) => endedAt === undefined);
    if (open.length === 0) return;
    await Promise.all(
      open.map(async (each) => {
        each.story = (await look(options.opsUrl, each.event.messageId, options.signal)) ?? each.story;
        if (ENDED.has(stateOf(each))) each.endedAt = Date.now();
      }),
    );
    options.onChange();
    await delay(100, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

async function look(opsUrl: string, messageId: string, signal: AbortSignal): Promise<Story | undefined> {
  try {
    const answer = await fetch(`${opsUrl}/v1/jobs/${encodeURIComponent(messageId)}`, { signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]) });
    if (answer.ok) return (await answer.json()) as Story;
    await answer.body?.cancel();
  } catch {
    // Asked again in a moment; the deadline of the whole demo is what ends this.
  }
  return undefined;
}
