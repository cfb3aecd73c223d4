import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Effect } from '@backhaul/testing';
import { type Followed, stateOf } from './follow.ts';

/** One event's line of the table. */
export interface Row {
  readonly event: string;
  readonly subject: string;
  readonly queue: string;
  readonly outcome: string;
  /** From the publish to the first start, or to the dead letter. */
  readonly waitMs: number | undefined;
  readonly runMs: number | undefined;
  readonly outputs: readonly string[];
  /** Why this is not what was expected. */
  readonly problem: string | undefined;
}

/** Where outputs lie. */
export interface Places {
  readonly stackDir: string;
  readonly bucket: string;
  /** The mails that the mail fake took. */
  readonly mails: readonly Effect[];
}

/** What became of an event. */
export function rowOf(followed: Followed, places: Places): Row {
  const { event, story, publishedAt } = followed;
  const state = stateOf(followed);
  const letter = story?.deadLetters[0];
  const startedAt = story?.job?.startedAt ?? letter?.createdAt;
  const lastStart = story?.job?.history.findLast((entry) => entry.event === 'started')?.at;
  const finishedAt = story?.job?.finishedAt;
  const { outputs, missing } = outputsOf(followed, places);
  const ended = followed.endedAt !== undefined;
  let problem: string | undefined;
  if (!ended) problem = `it has not ended in time; it is ${state}${story?.job?.error ? `: ${story.job.error.message}` : ''}`;
  else if (state !== event.expected)
    problem = `expected ${event.expected}, it is ${state}: ${letter?.error.message ?? JSON.stringify(story?.job?.result ?? null)}`;
  else if (missing.length > 0) problem = `the outputs are not there: ${missing.join(', ')}`;
  return {
    event: event.routingKey,
    subject: event.subject,
    queue: story?.job?.queue ?? letter?.queue ?? '',
    outcome: event.expected === 'dead letter' && state === 'dead letter' ? 'dead letter, as expected' : state,
    waitMs: startedAt == null ? undefined : Math.max(0, Date.parse(startedAt) - publishedAt),
    runMs: lastStart === undefined || finishedAt == null ? undefined : Date.parse(finishedAt) - Date.parse(lastStart),
    outputs,
    problem,
  };
}

function outputsOf({ event, story }: Followed, places: Places): { outputs: string[]; missing: string[] } {
  const letter = story?.deadLetters[0];
  if (letter !== undefined) return { outputs: [`dead letter ${letter.id}: ${letter.reason}`], missing: [] };
  const result = story?.job?.result ?? {};
  const files = Array.isArray(result['outputs'])
    ? (result['outputs'] as { name: string; key: string }[]).map(({ key }) => join(places.stackDir, 's3', places.bucket, key))
    : [];
  if (event.recipient !== undefined) {
    const mails = places.mails.filter(({ key }) => key === event.recipient).map((mail) => String(mail['file']));
    if (mails.length === 0) return { outputs: [], missing: [`a mail to ${event.recipient}`] };
    files.push(...mails);
  }
  if (files.length > 0) return { outputs: files.map(shortest), missing: files.filter((file) => !existsSync(file)).map(shortest) };
  const accepted = (story?.effects ?? [])
    .filter(({ state }) => state === 'confirmed')
    .map(({ providerId }) => `the provider took it as ${providerId ?? 'it did not say'}`);
  if (accepted.length > 0) return { outputs: accepted, missing: [] };
  const figures = Object.entries(result).filter(([, value]) => typeof value === 'number' || typeof value === 'boolean');
  return { outputs: figures.length > 0 ? [figures.map(([name, value]) => `${name} ${String(value)}`).join(', ')] : [], missing: [] };
}

/** As one would type it here. */
function shortest(file: string): string {
  const near = relative(process.cwd(), file);
  return near.length < file.length ? near : file;
}

/** The table: event, queue, outcome, wait, run time, outputs. Further outputs of an event stand below its first. */
export function table(rows: readonly Row[]): string {
  const head = ['event', 'queue', 'outcome', 'wait', 'run', 'outputs'];
  const lines = rows.flatMap((row) => {
    const first = [
      row.event,
      row.queue,
      row.problem === undefined ? row.outcome : `${row.outcome} (!)`,
      duration(row.waitMs),
      duration(row.runMs),
      row.outputs[0] ?? '',
    ];
    return [first, ...row.outputs.slice(1).map((output) => ['', '', '', '', '', output])];
  });
  const widths = head.map((name, column) => Math.max(name.length, ...lines.map((line) => (line[column] ?? '').length)));
  const format = (line: readonly string[]) =>
    `  ${line.map((cell, column) => (column === 3 || column === 4 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ')}`.trimEnd();
  return [format(head), format(widths.map((width, column) => '─'.repeat(column === 5 ? Math.min(width, 40) : width))), ...lines.map(format)].join('\n');
}

function duration(ms: number | undefined): string {
  if (ms === undefined) return '–';
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
