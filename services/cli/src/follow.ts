import { pause, withDeadline } from '@backhaul/runtime';
import type { Connections } from './connections.ts';
import { CommandFailure, EXIT } from './exit-codes.ts';
import { type MessageStory, findStory, hasEnded, stateOf } from './message-story.ts';
import { type Terminal, duration } from './terminal.ts';

const LOOK_EVERY_MS = 200;

/** How often a message has died so far: a message that is published again under the same id may have. */
export function deathsOf(story: MessageStory | undefined): number {
  return (story?.deadLetters ?? []).reduce((sum, { seen }) => sum + seen, 0);
}

/**
 * Watches a message until its job has ended, telling each change.
 *
 * @param options.deathsBefore deaths of the same message id that are not this one's; default 0
 * @throws {CommandFailure} `timeout` when it has not ended in time: it goes on without us
 */
export async function follow(
  connections: Connections,
  terminal: Terminal,
  messageId: string,
  options: { timeoutMs: number; signal: AbortSignal; deathsBefore?: number },
): Promise<MessageStory> {
  const startedAt = performance.now();
  let told = '';
  try {
    for (;;) {
      const story = await findStory(connections, messageId);
      // The dead letter of an earlier message with this id says nothing of this one.
      const stale = story?.job === null && deathsOf(story) <= (options.deathsBefore ?? 0);
      const state = story === undefined || stale ? 'published' : stateOf(story);
      const line = story?.job?.status === 'active' ? `${state} ${await percent(connections, story.job.queue, messageId)}`.trimEnd() : state;
      if (line !== told) terminal.progress(`${duration(performance.now() - startedAt)}  ${line}`);
      told = line;
      if (story !== undefined && !stale && hasEnded(stateOf(story))) return story;
      options.signal.throwIfAborted();
      if (performance.now() - startedAt > options.timeoutMs) {
        throw new CommandFailure(
          EXIT.failed,
          'timeout',
          `${messageId} is still ${state} after ${duration(options.timeoutMs)}; it goes on: backhaul jobs ${messageId}`,
        );
      }
      await pause(LOOK_EVERY_MS, options.signal);
    }
  } finally {
    terminal.progressEnd();
  }
}

/** How far it is, if Redis says so in time: the record alone is enough to follow. */
async function percent(connections: Connections, queue: string, messageId: string): Promise<string> {
  try {
    const inspector = await connections.inspector();
    const progress = await withDeadline('the progress', 1_000, inspector.progress(queue, messageId));
    return progress === undefined || Number.isNaN(progress) ? '' : `${Math.round(progress)} %`;
  } catch {
    return '';
  }
}
