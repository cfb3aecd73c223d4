import { standardRetry } from '../queues.ts';

const HOUR_MS = 3_600_000;

/** A number of hours in milliseconds. */
export const hours = (count: number): number => count * HOUR_MS;

/** A number of days in milliseconds. */
export const days = (count: number): number => count * 24 * HOUR_MS;

/** What all cleanup jobs have in common. */
export const cleanupRun = { priority: 1, timeoutMs: 120_000, retry: standardRetry } as const;

/** How old counts as old: what the event says, else the job's own default. */
export function olderThanMs(data: { readonly olderThanHours?: number | undefined } | undefined, byDefaultMs: number): number {
  return data?.olderThanHours === undefined ? byDefaultMs : hours(data.olderThanHours);
}
