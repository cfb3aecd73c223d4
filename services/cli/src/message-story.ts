import { type DeadLetter, type EffectRow, type Explanation, type JobRow, createDeadLetters, createEffects, createJobs } from '@backhaul/database';
import type { Connections } from './connections.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { duration, printable, table } from './terminal.ts';

/** Everything that is known of one message. */
export interface MessageStory {
  readonly messageId: string;
  readonly job: JobRow | null;
  readonly effects: readonly EffectRow[];
  readonly deadLetters: readonly DeadLetter[];
}

/** Looks a message up; undefined when nothing is known of it. */
export async function findStory(connections: Connections, messageId: string): Promise<MessageStory | undefined> {
  const database = connections.database();
  // The job first: what was confirmed before it ended is then in what is read after it.
  const job = await createJobs(database).find(messageId);
  const [effects, deadLetters] = await Promise.all([createEffects(database).of(messageId), createDeadLetters(database).of(messageId)]);
  return job === undefined && deadLetters.length === 0 ? undefined : { messageId, job: job ?? null, effects, deadLetters };
}

/** Where a message is. A dead letter of the bridge has no job. */
export type MessageState = JobRow['status'] | 'dead letter';

/** The state in one word. */
export function stateOf({ job, deadLetters }: Pick<MessageStory, 'job' | 'deadLetters'>): MessageState {
  if (job !== null) return job.status;
  return deadLetters.some(({ retriedAt }) => retriedAt === null) ? 'dead letter' : 'queued';
}

/** Whether nothing more will happen by itself. */
export function hasEnded(state: MessageState): boolean {
  return state !== 'queued' && state !== 'active' && state !== 'retrying';
}

/** What the end means for a script: a job that was skipped did what was to be done. */
export function exitCodeOf(state: MessageState): ExitCode {
  return state === 'dead' || state === 'dead letter' || state === 'cancelled' ? EXIT.failed : EXIT.ok;
}

/** The story as one JSON document: bodies of dead letters stay with `dlq show`. */
export function storyDocument(story: MessageStory): Record<string, unknown> {
  return {
    ...story,
    state: stateOf(story),
    deadLetters: story.deadLetters.map(({ bodyHead: _bodyHead, payload: _payload, history: _history, ...letter }) => letter),
  };
}

/** The story for people: what it is, then what happened, in order. */
export function storyText(story: MessageStory): string {
  const { job, effects, deadLetters } = story;
  const lines = [`message   ${printable(story.messageId)}`];
  if (job === null) lines.push('job       none: the bridge could not make one of it');
  else {
    lines.push(
      `job       ${job.name} in queue ${job.queue}, priority ${job.priority}`,
      `state     ${stateOf(story)} after ${job.attempts} ${job.attempts === 1 ? 'run' : 'runs'}`,
    );
    if (job.error !== null) lines.push(`error     ${printable(`${job.error.code ?? job.error.name}: ${job.error.message}`)}`);
    if (job.result !== null) lines.push(`result    ${printable(JSON.stringify(job.result))}`);
    if (job.dueAt !== null) lines.push(`due       ${job.dueAt.toISOString()}`);
  }
  const events: { at: Date; what: string; detail: string }[] = [];
  if (job !== null) events.push({ at: job.receivedAt, what: 'accepted', detail: '' });
  for (const { at, event, ...details } of job?.history ?? []) events.push({ at: new Date(at), what: event, detail: detailsOf(details) });
  for (const { key, state, providerId, detail, updatedAt } of effects)
    events.push({ at: updatedAt, what: `effect ${state}`, detail: detailsOf({ key, providerId, detail }) });
  for (const { id, reason, error, createdAt, retriedAt, seen } of deadLetters) {
    events.push({ at: createdAt, what: 'dead letter', detail: detailsOf({ id, reason, message: error.message, ...(seen > 1 ? { seen } : {}) }) });
    if (retriedAt !== null) events.push({ at: retriedAt, what: 'retried', detail: detailsOf({ deadLetter: id }) });
  }
  const ordered = events.toSorted((a, b) => a.at.getTime() - b.at.getTime());
  const first = ordered[0]?.at.getTime() ?? 0;
  return [
    ...lines,
    '',
    table(
      ['time', 'after', 'event', 'detail'],
      ordered.map(({ at, what, detail }) => [at.toISOString(), `+${duration(at.getTime() - first)}`, what, detail]),
    ),
  ].join('\n');
}

/** An explanation for people: what decided first, then what happened, in order. */
export function explanationText({ messageId, userId, job, state, rule, steps }: Explanation): string {
  return [
    `message  ${printable(messageId)}`,
    `user     ${printable(userId ?? '–')}`,
    `job      ${printable(job ?? 'none: the bridge could not make one of it')}`,
    `state    ${state}`,
    `rule     ${printable(rule ?? 'nothing is decided yet')}`,
    '',
    table(
      ['time', 'step', 'what happened'],
      steps.map(({ at, stage, says }) => [at.toISOString(), stage, says]),
    ),
  ].join('\n');
}

function detailsOf(details: Readonly<Record<string, unknown>>): string {
  return Object.entries(details)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}
