import type { JobDefinition } from '@backhaul/queue/job';
import { createTask, validateDetailed } from 'node-cron';

/** A job that fires by itself. */
export type ScheduledJob = JobDefinition & Required<Pick<JobDefinition, 'schedule'>>;

/** A job and when it fires, in UTC. */
export interface Schedule {
  readonly job: ScheduledJob;
  /** The expression that counts: the job's own, or the operator's. */
  readonly cron: string;
  /** Whether the minute that `date` lies in is one of its slots. */
  readonly matches: (date: Date) => boolean;
  /** The next fires from now. */
  readonly next: (count: number) => Date[];
}

/** Some schedules cannot be used. The operator or the developer must act; lists every problem at once. */
export class InvalidSchedules extends Error {
  readonly code = 'invalid_schedules';

  constructor(problems: readonly string[]) {
    super(`these schedules cannot be used:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'InvalidSchedules';
  }
}

/** `off` in place of an expression: the job does not fire by itself. */
const OFF = 'off';

/**
 * Puts the schedules together.
 *
 * @param overrides expressions, or `off`, by job name
 * @throws {InvalidSchedules} when an expression is not usable or an override names no scheduled job
 */
export function createSchedules(jobs: readonly ScheduledJob[], overrides: ReadonlyMap<string, string>): Schedule[] {
  const known = new Set(jobs.map((job) => job.name));
  const problems = [...overrides.keys()]
    .filter((name) => !known.has(name))
    .map((name) => `${name}: no scheduled job has this name; there are ${[...known].join(', ')}`);
  const schedules: Schedule[] = [];
  for (const job of jobs) {
    const cron = overrides.get(job.name) ?? job.schedule.cron;
    if (cron === OFF) continue;
    const problem = problemWith(cron);
    if (problem !== undefined) {
      problems.push(`${job.name}: "${cron}": ${problem}`);
      continue;
    }
    // Never started: it only answers questions. The one that fires belongs to the scheduler.
    const task = createTask(cron, () => undefined, { timezone: 'UTC' });
    schedules.push({ job, cron, matches: (date) => task.match(date), next: (count) => task.getNextRuns(count) });
  }
  if (problems.length > 0) throw new InvalidSchedules(problems);
  return schedules;
}

function problemWith(cron: string): string | undefined {
  const fields = cron.trim().split(/\s+/);
  // A sixth field would be seconds, but slots are minutes; nicknames such as @daily say less than what they stand for.
  if (fields.length !== 5) return 'expected five fields: minute, hour, day of month, month, day of week';
  const { valid, errors } = validateDetailed(cron);
  if (!valid) return errors.map(({ field, message }) => `${field}: ${message}`).join('; ');
  // node-cron wants both to match, cron(8) either of them: whichever the author meant, half of the readers are surprised.
  if (fields[2] !== '*' && fields[4] !== '*') return 'day of month and day of week are both set: expected * for one of them';
  return undefined;
}

/** The minute that a moment lies in: what a fire is known by. */
export function slotOf(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 60_000) * 60_000);
}

/** The latest slot up to `now` that is not older than `windowMs`. */
export function latestSlot({ matches }: Pick<Schedule, 'matches'>, now: Date, windowMs: number): Date | undefined {
  for (let slot = slotOf(now).getTime(); slot >= now.getTime() - windowMs; slot -= 60_000) {
    const date = new Date(slot);
    if (matches(date)) return date;
  }
  return undefined;
}
