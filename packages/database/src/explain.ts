import type { DeadLetter } from './dead-letters.ts';
import type { EffectRow } from './effects.ts';
import type { HistoryEntry } from './history.ts';
import type { JobRow, JobStatus } from './jobs.ts';

/** What is on record of one message. */
export interface MessageRecords {
  readonly messageId: string;
  readonly job: JobRow | null;
  readonly effects: readonly EffectRow[];
  readonly deadLetters: readonly DeadLetter[];
}

/** One thing that happened, as a sentence. */
export interface ExplainedStep {
  readonly at: Date;
  readonly stage: 'recorded' | 'started' | 'claimed' | 'answered' | 'reported' | 'unknown' | 'failed' | 'postponed' | 'ended' | 'dead letter' | 'requeued';
  readonly says: string;
}

/** The story of one message, in order, and what decided its end. Holds no title, body or address. */
export interface Explanation {
  readonly messageId: string;
  readonly userId: string | null;
  readonly job: string | null;
  readonly state: JobStatus | 'dead letter' | 'published again';
  /** The stable word that decided: why it was skipped, waits, or died; `sent` when nothing stood in the way. Null while nothing is decided. */
  readonly rule: string | null;
  readonly steps: readonly ExplainedStep[];
}

/** What happens first when two steps bear the same millisecond. */
const ORDER: readonly ExplainedStep['stage'][] = [
  'recorded',
  'requeued',
  'started',
  'claimed',
  'answered',
  'reported',
  'unknown',
  'failed',
  'postponed',
  'ended',
  'dead letter',
];

/**
 * Tells what became of a message, from its record to the provider's answer.
 * Undefined when nothing is known of it, or when it is not `userId`'s: an
 * answer about somebody else's message would confirm that it exists.
 */
export function explain(records: MessageRecords, userId?: string): Explanation | undefined {
  const { messageId, job, deadLetters } = records;
  if (job === null && deadLetters.length === 0) return undefined;
  const payload = job?.payload ?? deadLetters.find((letter) => letter.payload !== null)?.payload;
  const owner = textField(payload, 'userId');
  if (userId !== undefined && owner !== userId && !isAmong(userId, payload)) return undefined;
  const open = deadLetters.find(({ retriedAt }) => retriedAt === null);
  const state = job?.status ?? (open === undefined ? 'published again' : 'dead letter');
  const steps = [...jobSteps(job), ...records.effects.flatMap(effectSteps), ...deadLetters.flatMap(deadLetterSteps)];
  return {
    messageId,
    userId: owner,
    job: job?.name ?? deadLetters[0]?.name ?? null,
    state,
    rule: ruleOf(job, open),
    steps: steps.toSorted((a, b) => a.at.getTime() - b.at.getTime() || ORDER.indexOf(a.stage) - ORDER.indexOf(b.stage)),
  };
}

function ruleOf(job: JobRow | null, open: DeadLetter | undefined): string | null {
  if (job === null) return open?.reason ?? null;
  switch (job.status) {
    case 'dead':
      return open?.reason ?? job.error?.code ?? null;
    case 'done':
      return textField(job.result, 'rule') ?? (job.queue === 'notification' ? 'sent' : null);
    case 'skipped':
    case 'cancelled':
      return textField(job.result, 'reason');
    default: {
      const last = job.history.findLast(({ event }) => event === 'postponed' || event === 'failed' || event === 'requeued');
      return last?.event === 'requeued' ? null : textField(last, 'code');
    }
  }
}

function jobSteps(job: JobRow | null): ExplainedStep[] {
  if (job === null) return [];
  const recorded: ExplainedStep = {
    at: job.receivedAt,
    stage: 'recorded',
    says: `received, recorded and put into the queue ${job.queue} as ${job.name}, priority ${job.priority}`,
  };
  return [recorded, ...job.history.map((entry) => historyStep(entry, job))];
}

function historyStep(entry: HistoryEntry, job: JobRow): ExplainedStep {
  const at = new Date(entry.at);
  const text = (name: string) => textField(entry, name);
  const reason = [text('code'), text('message')].filter((part) => part !== null).join(': ') || 'no reason was kept';
  const again = typeof entry['retryInMs'] === 'number' ? `; next run ${new Date(at.getTime() + entry['retryInMs']).toISOString()}` : '';
  switch (entry.event) {
    case 'started':
      return { at, stage: 'started', says: `a run started${text('worker') === null ? '' : ` on ${text('worker')}`}` };
    case 'failed':
    case 'retried':
      return { at, stage: 'failed', says: `the try failed: ${reason}${again}` };
    case 'postponed':
      return { at, stage: 'postponed', says: `not now, no try used: ${reason}${again}` };
    case 'requeued':
      return { at, stage: 'requeued', says: 'put into the queue again from its dead letter' };
    case 'finished': {
      const status = text('status') ?? 'finished';
      // The result is the last end's; an earlier end, before a replay, has none left.
      const why = (
        status === 'dead' ? [text('reason'), text('message')] : status === job.status ? [textField(job.result, 'reason'), textField(job.result, 'detail')] : []
      )
        .filter((part) => part !== null)
        .join(': ');
      return { at, stage: 'ended', says: `ended as ${status}${why === '' ? '' : `: ${why}`}` };
    }
    default:
      // Written by a newer version: shown as it is, rather than hidden.
      return { at, stage: 'started', says: String(entry.event) };
  }
}

/** What the provider's codes for a text message that did not arrive mean: https://www.twilio.com/docs/api/errors */
const REPORTED_ERRORS: ReadonlyMap<number, string> = new Map([
  [21610, 'the person asked not to be texted'],
  [30003, 'the phone cannot be reached'],
  [30004, 'the person or the network blocks it'],
  [30005, 'the number is unknown or out of service'],
  [30006, 'the number is a landline, or its network cannot be reached'],
  [30007, 'the network filtered it'],
]);

function effectSteps(effect: EffectRow): ExplainedStep[] {
  const { report } = effect;
  if (report === null) return sendSteps(effect);
  const meaning = report.errorCode === null ? undefined : REPORTED_ERRORS.get(report.errorCode);
  const error = report.errorCode === null ? '' : ` (${report.errorCode}${meaning === undefined ? '' : `: ${meaning}`})`;
  return [...sendSteps(effect), { at: report.at, stage: 'reported', says: `the provider reports it as ${report.status}${error}` }];
}

function sendSteps({ key, state, provider, providerId, detail, createdAt, updatedAt }: EffectRow): ExplainedStep[] {
  const claimed: ExplainedStep = { at: createdAt, stage: 'claimed', says: `claimed in the ledger before sending: ${key}` };
  switch (state) {
    case 'claimed':
      return [claimed];
    case 'confirmed':
      return [
        claimed,
        { at: updatedAt, stage: 'answered', says: `${provider ?? 'the provider'} accepted it${providerId === null ? '' : ` as ${providerId}`}` },
      ];
    case 'refused':
      return [claimed, { at: updatedAt, stage: 'answered', says: `it does not reach the person in this way${detail === null ? '' : `: ${detail}`}` }];
    case 'unknown':
      return [
        claimed,
        { at: updatedAt, stage: 'unknown', says: `whether it was sent is unknown, and it is not sent again${detail === null ? '' : `: ${detail}`}` },
      ];
  }
}

function deadLetterSteps({ id, source, reason, error, seen, createdAt, retriedAt }: DeadLetter): ExplainedStep[] {
  const times = seen > 1 ? `, seen ${seen} times` : '';
  const letter: ExplainedStep = { at: createdAt, stage: 'dead letter', says: `dead letter ${id} of the ${source}: ${reason}: ${error.message}${times}` };
  // A worker's is told by the job's own history, as long as there is one; the bridge's leaves no other trace.
  if (retriedAt === null || source === 'worker') return [letter];
  return [letter, { at: retriedAt, stage: 'requeued', says: `dead letter ${id} was published again` }];
}

/** Whether a message to several people is for this one as well. */
function isAmong(userId: string, payload: unknown): boolean {
  if (typeof payload !== 'object' || payload === null || !('userIds' in payload)) return false;
  return Array.isArray(payload.userIds) && payload.userIds.includes(userId);
}

function textField(value: unknown, name: string): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const field = (value as Readonly<Record<string, unknown>>)[name];
  return typeof field === 'string' ? field : null;
}
