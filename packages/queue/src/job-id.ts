import { hash } from 'node:crypto';

/**
 * The Redis id of a job: the same for the same message id, always. Hashed,
 * because BullMQ refuses ids with `:` and ids of digits only, and message ids
 * come from outside.
 */
export function jobIdOf(messageId: string): string {
  return `j${hash('sha256', messageId).slice(0, 40)}`;
}

/** The most urgent priority there is. */
export const MAX_PRIORITY = 1_000;

/**
 * Backhaul's priority (larger is more urgent, 0 to 1,000) as BullMQ's (smaller
 * comes first, from 1; 0 would mean "before all prioritised jobs").
 * The only place where the two meet.
 */
export function bullPriority(priority: number): number {
  return MAX_PRIORITY + 1 - Math.min(MAX_PRIORITY, Math.max(0, Math.trunc(priority)));
}
