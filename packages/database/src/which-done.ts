/** One row instead of one per change: nearly always all were made, and then there is nothing to read. */
export interface DoneRow {
  /** The places, from 1, of those that were made; null: all of them. */
  readonly done: readonly number[] | null;
}

/** The end of a statement whose `WITH` has a part that changes rows and returns their `place`. */
export function whichOf(part: string, count: number): string {
  return `SELECT CASE WHEN count(*) < ${count} THEN coalesce(array_agg(place::int), '{}') END AS done FROM ${part}`;
}

/** Whether each of the `count` was made. */
export function wereDone(rows: readonly DoneRow[], count: number): boolean[] {
  const [row] = rows;
  if (row === undefined) throw new Error('a statement about many rows did not say which it changed');
  if (row.done === null) return Array.from({ length: count }, () => true);
  const done = new Set(row.done);
  return Array.from({ length: count }, (_, index) => done.has(index + 1));
}
